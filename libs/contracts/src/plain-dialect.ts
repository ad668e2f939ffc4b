import Type, { type Static } from 'typebox';
import {
  type DeviceFrame,
  type HelloMessage,
  type RejectedFrame,
  parseFrame,
  unreadableFrame,
} from './device-protocol.ts';
import { type JsonText, parseJsonText } from './json-text.ts';
import { MetricValue, Metrics } from './metrics.ts';
import type { IdentifiedReading } from './reading.ts';
import { parserOf } from './schema-issue.ts';
import { type Telemetry, parseTelemetry } from './telemetry-input.ts';
import { type Parsed, refused } from './validation-issue.ts';

/** Devices in `data_snapshot` and in the answer of `GET /api/data`. */
export const plainSnapshotDevicesMax = 1_000;

/** Messages of an unknown type that are echoed to one socket in a second. */
export const plainEchoesPerSecondMax = 10;

/** RFC 3339 as Python's `isoformat` writes UTC. */
const PlainTime = Type.String({ description: 'RFC 3339 with the offset +00:00' });

const PlainValue = Type.Union([MetricValue, Metrics], {
  description: 'The bare value of a reading whose one metric is `value`; else its metrics',
});

export const PlainUpdate = Type.Object(
  {
    type: Type.Literal('data_update'),
    device_id: Type.String(),
    value: PlainValue,
    timestamp_utc: PlainTime,
    source: Type.Enum(['websocket', 'rest']),
  },
  { title: 'PlainUpdate' },
);
export type PlainUpdate = Static<typeof PlainUpdate>;

/** Body of `POST /api/data`. */
export const PlainData = Type.Object(
  {
    device_id: Type.Optional(
      Type.String({ description: 'Required unless the token is of a device, which is then meant' }),
    ),
    value: PlainValue,
  },
  { title: 'PlainData' },
);

export const PlainDataAccepted = Type.Object({
  ok: Type.Literal(true),
  stored: Type.Literal(true, { description: 'The broker has confirmed the reading: it is never lost' }),
  event: PlainUpdate,
});
export type PlainDataAccepted = Static<typeof PlainDataAccepted>;

/** A command, told to all sockets of the plain dialect that may see its target. Also the message by which instances tell each other. */
export const PlainControl = Type.Object(
  {
    type: Type.Literal('control'),
    target: Type.String(),
    command: Type.String(),
    args: Type.Unknown(),
    timestamp_utc: PlainTime,
    source: Type.Enum(['websocket', 'rest']),
  },
  { title: 'PlainControl' },
);
export type PlainControl = Static<typeof PlainControl>;

/** On the exchange of events. */
export const plainControlKey = 'plain.control';

export const parsePlainControl = parserOf(PlainControl);

export function plainControl(
  { target, command, args }: { readonly target: string; readonly command: string; readonly args?: unknown },
  source: PlainControl['source'],
  now: number,
): PlainControl {
  return { type: 'control', target, command, args: args ?? {}, timestamp_utc: plainTime(now), source };
}

/** The last known state of devices, by device id. */
export const PlainState = Type.Record(
  Type.String(),
  Type.Object({ value: PlainValue, updated_at_utc: PlainTime }, { title: 'PlainDeviceState' }),
);
export type PlainState = Static<typeof PlainState>;

/** What the plain dialect adds to `hello`. */
export interface PlainGreetingMembers {
  readonly message: 'connected';
  readonly timestamp_utc: string;
  readonly data_snapshot: PlainState;
  /** The state could not be read yet; it comes in a second `hello`. */
  readonly data_snapshot_pending?: true;
  /** More devices are known. */
  readonly data_snapshot_truncated?: true;
}

/** What a server sends on a socket of the plain dialect, beside messages of the full one. */
export type PlainMessage =
  | (HelloMessage & PlainGreetingMembers)
  | PlainControl
  | { readonly type: 'pong'; readonly timestamp_utc: string; readonly ts: number }
  | { readonly type: 'echo'; readonly timestamp_utc: string; readonly received: object; readonly note: string };

export type PlainFrame = DeviceFrame | { readonly type: 'unknown'; readonly frame: Readonly<Record<string, unknown>> };

/**
 * A frame of a socket of the plain dialect. With a `seq` it is read as in the full dialect, so that devices that number their readings are
 * answered as there.
 * @param isDevice readings without a device id are of the sender
 */
export function parsePlainFrame(
  text: string,
  now: number,
  isDevice: boolean,
): { readonly ok: true; readonly value: PlainFrame } | RejectedFrame {
  const json = parseJsonText(text);
  if (!json.ok) return unreadableFrame(json.issue);
  const frame = objectIn(json.value.value);
  if (frame === undefined || frame['seq'] !== undefined) return parseFrame(json.value, now);
  if (frame['type'] === 'telemetry') {
    const anonymous = isDevice ? undefined : missingDevice(frame);
    if (anonymous !== undefined) return { ...unreadableFrame(anonymous), isUnreadable: false };
    return parseFrame({ ...json.value, value: withMetrics(frame) }, now);
  }
  const parsed = parseFrame(json.value, now);
  const isUnknown = !parsed.ok && (parsed.issue.code === 'unknown-type' || frame['type'] === undefined);
  return isUnknown ? { ok: true, value: { type: 'unknown', frame } } : parsed;
}

/** The body of `POST /api/data`; parameters as of {@link parsePlainFrame}. */
export function parsePlainData({ value, ...json }: JsonText, now: number, isDevice: boolean): Parsed<Telemetry> {
  const element = objectIn(value);
  if (element === undefined || element['readings'] !== undefined)
    return refused('wrong-type', '', 'the body must be one reading; POST /api/v1/data takes several');
  const anonymous = isDevice ? undefined : missingDevice(element);
  if (anonymous !== undefined) return { ok: false, issue: anonymous };
  return parseTelemetry({ ...json, value: element['seq'] === undefined ? withMetrics(element) : element }, now);
}

/** The value of the plain dialect for the metrics of a reading: the reverse of {@link withMetrics}. */
export function plainValueOf(metrics: Metrics): PlainUpdate['value'] {
  const { value } = metrics;
  return value !== undefined && Object.keys(metrics).length === 1 ? value : metrics;
}

export function plainTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('Z', '+00:00');
}

export function plainUpdate(
  { deviceId, receivedAt, metrics }: Pick<IdentifiedReading, 'deviceId' | 'receivedAt' | 'metrics'>,
  source: PlainUpdate['source'],
): PlainUpdate {
  return {
    type: 'data_update',
    device_id: deviceId,
    value: plainValueOf(metrics),
    timestamp_utc: plainTime(receivedAt),
    source,
  };
}

function missingDevice({ device_id, deviceId }: Record<string, unknown>) {
  return device_id === undefined && deviceId === undefined
    ? refused('missing-field', 'device_id', 'is missing').issue
    : undefined;
}

/** A value with members of its own becomes these metrics, unless one of them is an object: so each can be queried and averaged. */
function withMetrics(element: Record<string, unknown>): Record<string, unknown> {
  const { value, ...rest } = element;
  const members = objectIn(value);
  if (members === undefined || element['metrics'] !== undefined) return element;
  const names = Object.keys(members);
  const isFlat = names.every((name) => ['number', 'boolean', 'string'].includes(typeof members[name]));
  // `{"value": 5}` as metrics would come back as a bare 5.
  return !isFlat || names.length === 0 || names.join() === 'value' ? element : { ...rest, metrics: members };
}

function objectIn(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
