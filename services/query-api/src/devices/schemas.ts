import { deviceEventTypes } from '@fleetwire/contracts/device-event';
import { type DeviceFields, DeviceLocation, DeviceStatus } from '@fleetwire/contracts/device-registry';
import { Epoch, Seq } from '@fleetwire/contracts/identifiers';
import { presenceStatuses } from '@fleetwire/contracts/presence';
import type { RegistryState, StoredDevice } from '@fleetwire/store/registry/devices';
import { type Erasure, erasureStates } from '@fleetwire/store/registry/erasures';
import type { StoredDeviceEvent } from '@fleetwire/store/registry/events';
import Type, { type Static } from 'typebox';
import { Time } from '../schemas.ts';
import { isoTime } from '../time-range.ts';

const orNull = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

/** `links` and everything else that a device is shown with, for `fields`. */
const members = {
  name: orNull(Type.String(), 'Name for operators'),
  type: orNull(Type.String(), 'Kind of device'),
  status: DeviceStatus,
  registered: Type.Boolean({ description: 'false: it sends, and nothing was ever set of it (version 0)' }),
  tags: Type.Array(Type.String()),
  location: orNull(DeviceLocation, 'Where it is'),
  metadata: Type.Record(Type.String(), Type.Unknown(), { description: 'Members that clients have set' }),
  expectedIntervalMs: orNull(Type.Integer(), 'How often it is expected to send, in milliseconds'),
  presence: orNull(
    Type.Object({
      status: Type.Enum([...presenceStatuses]),
      reason: Type.String({
        description:
          'online: connected, reconnecting (its instance was stopped in order at most 10 s ago), or http (it sends without a connection of its own: over HTTP, through a gateway or a producer); ' +
          'stale: silent (it is active, was connected or sent without a connection, and nothing came for 3 × expectedIntervalMs, at least 30 s); ' +
          'offline: why its last connection ended, as in /connections, or http (it sent without a connection, and nothing came for 2 × expectedIntervalMs, 30 s to 1 h, or for 10 min where no interval is expected)',
      }),
      since: Type.String({
        format: 'date-time',
        description:
          'Start of its oldest open connection, or end of its last one; of a status that follows from its readings, when that began',
      }),
    }),
    'Whether it is connected, or sends without a connection; null if it has done neither. What follows from readings is looked up every few seconds, and never while readings may be queued (completeUntil of /live/position)',
  ),
  erasedBefore: orNull(Time, 'Readings received up to this time were erased'),
  version: Type.Integer({
    minimum: 0,
    description: 'Number of changes; the ETag of one device is this number in quotes',
  }),
  firstSeenAt: orNull(Time, 'When its first reading was received; null if it has sent nothing'),
  lastSeenAt: orNull(Time, 'When its newest reading was received; null if none was ever stored'),
  lastTs: orNull(Time, 'Newest device time'),
  silentForMs: orNull(Type.Integer({ minimum: 0 }), 'Milliseconds since lastSeenAt'),
  _links: Type.Object(
    {
      self: Type.String(),
      latest: Type.String(),
      readings: Type.String(),
      gaps: Type.String(),
      events: Type.String(),
      connections: Type.String(),
    },
    { description: 'Paths of its other routes' },
  ),
};

/** Members that only one device is shown with, not a list. */
const details = {
  epochs: Type.Array(
    Type.Object({
      epoch: Epoch,
      firstSeenAt: Time,
      lastSeq: orNull(Seq, 'The highest stored sequence number'),
    }),
    { description: 'Boots of the device, newest first, at most 100' },
  ),
};

const deviceId = Type.String({ description: 'Device id' });

/** Every member but the id can be left out with `fields`. */
export const Device = Type.Object({ deviceId, ...Type.Partial(Type.Object(members)).properties }, { title: 'Device' });
export const DeviceDetails = Type.Object(
  { deviceId, ...Type.Partial(Type.Object({ ...members, ...details })).properties },
  { title: 'DeviceDetails' },
);

export const deviceMembers = ['deviceId', ...Object.keys(members)];
export const deviceDetailMembers = [...deviceMembers, ...Object.keys(details)];

export const DeviceState = Type.Object(
  {
    name: members.name,
    type: members.type,
    status: DeviceStatus,
    tags: members.tags,
    location: members.location,
    metadata: members.metadata,
    expectedIntervalMs: members.expectedIntervalMs,
    erasedBefore: members.erasedBefore,
  },
  { title: 'DeviceState' },
);

export const DeviceEvent = Type.Object(
  {
    deviceId,
    version: Type.Integer({ minimum: 1 }),
    type: Type.Enum([...deviceEventTypes]),
    occurredAt: Time,
    actor: Type.String({ description: "The subject of the caller's token" }),
    patch: orNull(Type.Record(Type.String(), Type.Unknown()), 'What was different from before, as a JSON merge patch'),
    state: DeviceState,
  },
  { title: 'DeviceEvent' },
);

export const DeviceErasure = Type.Object(
  {
    id: Type.String(),
    deviceId,
    state: Type.Enum([...erasureStates], {
      description:
        'running: erasing what is stored; settling: further passes for readings received before the request that were still queued, for 15 minutes at least and until the edges report that all are stored; done',
    }),
    requestedBy: Type.String({ description: "The subject of the caller's token" }),
    eraseBefore: Type.String({ format: 'date-time', description: 'Readings received up to this time are erased' }),
    finishedAt: orNull(Time, 'null until it is done'),
    erased: Type.Object({
      readings: Type.Integer({ minimum: 0 }),
      deadLetters: Type.Integer({ minimum: 0 }),
    }),
    deadLettersToReview: Type.Array(Type.String(), {
      description:
        'Ids of at most 100 dead letters of whole messages that name the device. They are not erased, because a message may hold readings of other devices: look at each, and discard it. ' +
        'The newest 1,000 such messages in 64 MiB are searched',
    }),
  },
  { title: 'DeviceErasure' },
);

export function presentErasure(id: string, erasure: Erasure): Static<typeof DeviceErasure> {
  const { state, requestedBy, eraseBefore, finishedAt, readings, deadLetters, deadLettersToReview } = erasure;
  return {
    id: erasure.id,
    deviceId: id,
    state,
    requestedBy,
    eraseBefore: isoTime(eraseBefore),
    finishedAt: timeOrNull(finishedAt),
    erased: { readings, deadLetters },
    deadLettersToReview: [...deadLettersToReview],
  };
}

export function presentDevice(device: StoredDevice, now: number): Required<Static<typeof Device>> {
  const { firstSeenAt, lastSeenAt, lastTs, presence, version } = device;
  return {
    deviceId: device.deviceId,
    ...presentState(device),
    registered: version > 0,
    presence: presence === null ? null : { ...presence, since: isoTime(presence.since) },
    version,
    firstSeenAt: timeOrNull(firstSeenAt),
    lastSeenAt: timeOrNull(lastSeenAt),
    lastTs: timeOrNull(lastTs),
    silentForMs: lastSeenAt === null ? null : Math.max(0, now - lastSeenAt),
    _links: linksOf(device.deviceId),
  };
}

export function presentState(state: RegistryState): Static<typeof DeviceState> {
  const { name, type, status, tags, location, metadata, expectedIntervalMs, erasedBefore } = state;
  return {
    name,
    type,
    status,
    tags: [...tags],
    location,
    metadata: { ...metadata },
    expectedIntervalMs,
    // Events of the first release of the registry have no such member.
    erasedBefore: timeOrNull(erasedBefore ?? null),
  };
}

export function presentEvent(event: StoredDeviceEvent): Static<typeof DeviceEvent> {
  const { version, type, occurredAt, actor, patch, state } = event;
  return {
    deviceId: event.deviceId,
    version,
    type,
    occurredAt: isoTime(occurredAt),
    actor,
    patch: patch === null ? null : { ...patch },
    state: presentState(state),
  };
}

/** Only the members that `fields` names; the id is always there. */
export function onlyFields<T extends object>(device: T, fields: readonly string[] | undefined): T {
  if (fields === undefined) return device;
  const wanted = new Set(['deviceId', ...fields]);
  return Object.fromEntries(Object.entries(device).filter(([name]) => wanted.has(name))) as T;
}

/** The fields of a state that are set, as a client sends them. */
export function fieldsOf(state: RegistryState): Static<typeof DeviceFields> {
  const { name, type, tags, location, metadata, expectedIntervalMs } = state;
  return {
    ...(name !== null && { name }),
    ...(type !== null && { type }),
    tags: [...tags],
    ...(location !== null && { location }),
    metadata: { ...metadata },
    ...(expectedIntervalMs !== null && { expectedIntervalMs }),
  };
}

function linksOf(id: string) {
  const self = `/api/v1/devices/${encodeURIComponent(id)}`;
  return {
    self,
    latest: `${self}/latest`,
    readings: `${self}/readings`,
    gaps: `${self}/gaps`,
    events: `${self}/events`,
    connections: `${self}/connections`,
  };
}

function timeOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : isoTime(epochMs);
}
