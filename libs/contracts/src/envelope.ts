import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId, Epoch, Seq } from './identifiers.ts';
import { Metrics } from './metrics.ts';
import { type Parsed, type ValidationIssue, accepted } from './validation-issue.ts';
import type { IdentifiedReading } from './reading.ts';
import { parserOf } from './schema-issue.ts';

export const envelopeType = 'telemetry.received';
export const envelopeSchemaVersion = '1.0';

const EnvelopeReading = Type.Object({ seq: Seq, ts: Type.Integer(), metrics: Metrics });

/** Consecutive readings of one device and epoch, as they arrived in one frame; invalid ones are missing. */
export const EnvelopeRun = Type.Object({
  deviceId: DeviceId,
  epoch: Epoch,
  receivedAt: Type.Integer(),
  readings: Type.Array(EnvelopeReading),
});

/** One AMQP message: readings of many frames and devices. */
export const Envelope = Type.Object({
  ...eventAttributes,
  type: Type.Literal(envelopeType),
  runs: Type.Array(EnvelopeRun),
});
export type Envelope = Static<typeof Envelope>;
export type EnvelopeRun = Static<typeof EnvelopeRun>;

const parseOuter = parserOf(
  Type.Object({
    ...eventAttributes,
    runs: Type.Array(
      Type.Object({
        deviceId: Type.String(),
        epoch: Type.String(),
        receivedAt: Type.Integer(),
        readings: Type.Array(Type.Unknown()),
      }),
    ),
  }),
);
const parseIdentity = parserOf(Type.Object({ deviceId: DeviceId, epoch: Epoch }));
const parseReading = parserOf(EnvelopeReading);

/** A member of an envelope that is not a valid reading. */
export interface InvalidReading {
  readonly deviceId: string;
  readonly epoch: string;
  readonly receivedAt: number;
  readonly value: unknown;
  readonly issue: ValidationIssue;
}

export interface DecodedEnvelope {
  readonly id: string;
  readonly readings: readonly IdentifiedReading[];
  readonly invalid: readonly InvalidReading[];
}

export function encodeEnvelope(envelope: Envelope): Buffer {
  return Buffer.from(JSON.stringify(envelope));
}

/**
 * Each reading is validated by itself: an invalid one does not affect the others.
 * @returns the readings, or why the whole envelope is refused: `malformed-json`, `unsupported-version` (another major; a newer minor is
 * accepted and its unknown fields are ignored), or an invalid field
 */
export function decodeEnvelope(content: Buffer): Parsed<DecodedEnvelope> {
  const event = decodeEvent(content, envelopeSchemaVersion);
  if (!event.ok) return event;
  const outer = parseOuter(event.value);
  if (!outer.ok) return outer;

  const readings: IdentifiedReading[] = [];
  const invalid: InvalidReading[] = [];
  for (const run of outer.value.runs) {
    const { deviceId, epoch, receivedAt } = run;
    const identity = parseIdentity(run);
    for (const member of run.readings) {
      const reading = identity.ok ? parseReading(member) : identity;
      if (reading.ok)
        readings.push({
          deviceId,
          epoch,
          receivedAt,
          seq: reading.value.seq,
          ts: reading.value.ts,
          metrics: reading.value.metrics,
        });
      else invalid.push({ deviceId, epoch, receivedAt, value: member, issue: reading.issue });
    }
  }
  return accepted({ id: outer.value.id, readings, invalid });
}

/** Groups readings for republishing: consecutive readings of one stream and arrival share a run. */
export function runsOf(readings: readonly IdentifiedReading[]): EnvelopeRun[] {
  const runs: EnvelopeRun[] = [];
  for (const { deviceId, epoch, receivedAt, seq, ts, metrics } of readings) {
    let run = runs.at(-1);
    if (run === undefined || run.deviceId !== deviceId || run.epoch !== epoch || run.receivedAt !== receivedAt) {
      run = { deviceId, epoch, receivedAt, readings: [] };
      runs.push(run);
    }
    run.readings.push({ seq, ts, metrics });
  }
  return runs;
}
