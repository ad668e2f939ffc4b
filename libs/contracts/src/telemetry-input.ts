import Type from 'typebox';
import { DeviceId, Epoch, Seq } from './identifiers.ts';
import { type JsonText, findUnstorableText } from './json-text.ts';
import { limits } from './limits.ts';
import { type Parsed, type ValidationIssue, accepted, refused, within } from './validation-issue.ts';
import { type Observation, ObservationInput, parseObservation } from './reading.ts';
import { parserOf } from './schema-issue.ts';

const addressFields = {
  deviceId: Type.Optional(DeviceId),
  device_id: Type.Optional(DeviceId),
  epoch: Type.Optional(Epoch),
  seq: Type.Optional(Seq),
};
const Address = Type.Object(addressFields);

/** One element of telemetry as devices send it, over WebSocket or HTTP: an observation, or many under `readings`. */
export const TelemetryInput = Type.Object(
  {
    ...addressFields,
    ...ObservationInput.properties,
    readings: Type.Optional(Type.Array(ObservationInput, { minItems: 1, maxItems: limits.readingsPerFrameMax })),
  },
  {
    description:
      'Telemetry of one device. `seq` is the number of the first reading; the others follow it. Without `seq` the server assigns numbers, and ' +
      '`ts` is optional. `device_id` is accepted for `deviceId`.',
  },
);

/** Telemetry of one device, parsed. */
export interface Telemetry {
  readonly deviceId: string | undefined;
  readonly epoch: string | undefined;
  /** Number of `observations[0]`. */
  readonly seq: number | undefined;
  /** One entry for each reading sent; undefined for an invalid one. */
  readonly observations: readonly (Observation | undefined)[];
  /** Why readings are invalid, by their index in `observations`; the other readings are not affected. */
  readonly issues: readonly { readonly index: number; readonly issue: ValidationIssue }[];
}

/** Checks the members of an element that say whose readings it holds and how they are numbered. */
export const parseAddress = parserOf(Address);

/** Readings in an element that was refused whole; 0 where it holds none, 1 where their number cannot be read. */
export function countReadings(element: unknown): number {
  if (typeof element !== 'object' || element === null) return 0;
  const { readings } = element as { readings?: unknown };
  if (Array.isArray(readings)) return readings.length;
  return ['readings', 'metrics', 'value', 'seq'].some((name) => name in element) ? 1 : 0;
}

/** @param now epoch milliseconds */
export function parseTelemetry({ value, mayHoldUnstorableText }: JsonText, now: number): Parsed<Telemetry> {
  const address = parseAddress(value);
  if (!address.ok) return address;
  const { deviceId, device_id, epoch, seq } = address.value;
  const input = value as { readings?: unknown };

  const isSingle = input.readings === undefined;
  const list = isSingle ? [value] : input.readings;
  if (!Array.isArray(list)) return refused('wrong-type', 'readings', 'must be an array of readings');
  if (list.length === 0) return refused('missing-field', 'readings', 'is empty; send at least one reading');
  if (list.length > limits.readingsPerFrameMax) {
    return refused(
      'limit-exceeded',
      'readings',
      `has ${list.length} readings; at most ${limits.readingsPerFrameMax} (readingsPerFrameMax)`,
    );
  }
  if (seq !== undefined && list.length - 1 > limits.seqMax - seq)
    return refused('limit-exceeded', 'seq', `runs past ${limits.seqMax} (seqMax)`);

  const issues: { index: number; issue: ValidationIssue }[] = [];
  const observations = list.map((item, index) => {
    const parsed = parseObservation(item, now, seq !== undefined);
    const stored = parsed.ok && mayHoldUnstorableText ? storable(parsed.value) : parsed;
    if (stored.ok) return stored.value;
    issues.push({ index, issue: isSingle ? stored.issue : within(`readings[${index}]`, stored.issue) });
    return undefined;
  });
  return accepted({ deviceId: deviceId ?? device_id, epoch, seq, observations, issues });
}

/** Nothing else of an element is stored as free text. */
function storable(observation: Observation): Parsed<Observation> {
  const issue = findUnstorableText('metrics', observation.metrics);
  return issue === undefined ? accepted(observation) : { ok: false, issue };
}
