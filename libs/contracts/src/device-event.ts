import Type, { type Static } from 'typebox';
import { DeviceLocation, DeviceStatus } from './device-registry.ts';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';
import type { Parsed } from './validation-issue.ts';

/** Changes of the device registry, in the past tense. */
export const deviceEventTypes = [
  'device.registered',
  'device.updated',
  'device.status-changed',
  'device.retired',
  'device.erased',
] as const;
export type DeviceEventType = (typeof deviceEventTypes)[number];

export const deviceEventSchemaVersion = '1.0';

const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/**
 * One change of the registry, with the state after it: message on the exchange `events`, with its type as routing key. Messages come in
 * the order in which the changes were committed; after a crash some come again, with the same `(deviceId, version)`.
 */
export const DeviceEventMessage = Type.Object({
  ...eventAttributes,
  type: Type.Enum([...deviceEventTypes]),
  deviceId: DeviceId,
  version: Type.Integer({ minimum: 1 }),
  actor: Type.String(),
  state: Type.Object({
    name: orNull(Type.String()),
    type: orNull(Type.String()),
    status: DeviceStatus,
    tags: Type.Array(Type.String()),
    location: orNull(DeviceLocation),
    metadata: Type.Record(Type.String(), Type.Unknown()),
    expectedIntervalMs: orNull(Type.Integer()),
    /** Epoch milliseconds. */
    erasedBefore: Type.Optional(orNull(Type.Integer())),
  }),
});
export type DeviceEventMessage = Static<typeof DeviceEventMessage>;

export function encodeDeviceEvent(message: DeviceEventMessage): Buffer {
  return Buffer.from(JSON.stringify(message));
}

const parse = parserOf(DeviceEventMessage);

/** @returns the message, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodeDeviceEvent(content: Buffer): Parsed<DeviceEventMessage> {
  const event = decodeEvent(content, deviceEventSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
