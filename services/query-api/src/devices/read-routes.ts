import { DeviceStatus, deviceStatuses, DeviceType, registryLimits, Tag } from '@fleetwire/contracts/device-registry';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { presenceStatuses } from '@fleetwire/contracts/presence';
import { notFound } from '@fleetwire/runtime/problem';
import {
  countByPresence,
  deviceSorts,
  epochsOf,
  getDevice,
  listDevices,
  positionOf,
} from '@fleetwire/store/registry/devices';
import { lastEventOfDevice } from '@fleetwire/store/registry/events';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { route } from '../route.ts';
import { Count, PageOf, Time, toPage } from '../schemas.ts';
import { Instant, isoTime, readInstant } from '../time-range.ts';
import {
  Device,
  DeviceDetails,
  deviceDetailMembers,
  deviceMembers,
  onlyFields,
  presentDevice,
  presentState,
} from './schemas.ts';

const cursors = cursorCodec(
  Type.Object({
    deviceId: DeviceId,
    name: Type.Optional(Type.String({ maxLength: registryLimits.deviceNameCharactersMax })),
    lastSeenAt: Type.Optional(positionFields.instant),
    presenceRank: Type.Optional(Type.Integer({ minimum: 0, maximum: 3 })),
    seenSince: Type.Optional(positionFields.instant),
  }),
);

const PresenceCounts = Type.Object(
  {
    asOf: Time,
    devices: Type.Integer({ minimum: 0, description: 'All of them: the sum of the others' }),
    online: Count,
    stale: Count,
    offline: Count,
    neverConnected: Count,
  },
  { title: 'PresenceCounts' },
);

const sorts = deviceSorts.flatMap((sort) => [sort, `-${sort}` as const]);
const fields = (members: readonly string[]) =>
  Type.Optional(
    Type.Array(Type.Enum([...members]), {
      minItems: 1,
      maxItems: members.length,
      description: 'Only these members, separated by commas; deviceId is always there',
    }),
  );

export const etagHeader = { ETag: 'The version in quotes, for `If-Match`' };

export const readRoutes = [
  route({
    method: 'get',
    path: '/devices',
    operationId: 'listDevices',
    tag: 'Devices',
    summary: 'Devices: those that are registered, and those that have sent something',
    description:
      'Without `status`, retired devices are left out. Sorted by `lastSeenAt`, `silentFor` or `presence`, a device that sends, connects or falls silent while you read the pages may be listed twice or be left out.',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      q: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: limits.deviceIdCharactersMax,
          description: 'Only devices whose id or name contains this, ignoring case',
        }),
      ),
      tag: Type.Optional(
        Type.Array(Tag, {
          minItems: 1,
          maxItems: registryLimits.deviceTagsMax,
          description: 'Only devices that have all of these tags',
        }),
      ),
      type: Type.Optional(DeviceType),
      status: Type.Optional(
        Type.Array(DeviceStatus, {
          minItems: 1,
          maxItems: deviceStatuses.length,
          description: 'Only devices with one of these; all but retired ones if left out',
        }),
      ),
      registered: Type.Optional(
        Type.Boolean({ description: 'true: only registered devices; false: only those that were never registered' }),
      ),
      presence: Type.Optional(
        Type.Enum([...presenceStatuses], {
          description: 'Only devices with this `status` of `presence`',
        }),
      ),
      seenSince: Type.Optional(Instant('Only devices of which a reading arrived at or after this time')),
      sort: Type.Enum([...sorts], {
        default: 'deviceId',
        description: 'presence: stale, offline, never connected, online. With `-`: descending',
      }),
      fields: fields(deviceMembers),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Devices in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of devices', schema: PageOf(Device, {}, {}) },
    handler: async ({ query, pageBytes, now }, { registry, scans }) => {
      const { q: search, tag: tags, type, status, registered, presence, limit, cursor } = query;
      const { fields: _, ...filters } = query;
      const scope = { list: 'devices', ...filters };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      // The cursor holds the time: `now-6h` means the same on every page.
      const seenSince = before ? before.seenSince : readSeenSince(query.seenSince, now);
      const descending = query.sort.startsWith('-');
      const sort = query.sort.replace('-', '') as (typeof deviceSorts)[number];
      // Other orders read every device; so may a list of the few that are offline.
      const found = await (sort === 'deviceId' && presence === undefined ? registry : scans).run(listDevices, {
        ...pageBytes,
        limit: limit + 1,
        sort,
        descending,
        after: before,
        search,
        seenSince,
        tags,
        type,
        statuses: status ?? deviceStatuses.filter((one) => one !== 'retired'),
        registered,
        presence,
      });
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, (last) =>
        cursors.encode(scope, { ...positionOf(last, sort), ...(seenSince !== undefined && { seenSince }) }),
      );
      return {
        data: rows.map((device) => onlyFields(presentDevice(device, now), query.fields)),
        covers: covered,
        page,
      };
    },
  }),
  route({
    method: 'get',
    path: '/presence',
    operationId: 'countByPresence',
    tag: 'Devices',
    summary: 'How many devices are online, stale, offline, or have never been connected',
    description: 'Of all devices of the list but retired ones. The devices themselves: `GET /devices?sort=presence`.',
    roles: ['analyst', 'operator', 'admin'],
    success: { status: 200, description: 'The counts', schema: PresenceCounts },
    handler: async ({ signal, now }, { scans }) => ({
      asOf: isoTime(now),
      ...(await scans.run(countByPresence, { signal })),
    }),
  }),
  route({
    method: 'get',
    path: '/devices/{id}',
    operationId: 'getDevice',
    tag: 'Devices',
    summary: 'One device and its boots (epochs), or what was known of it at a time',
    description:
      'With `at`: the registry as it was then, from the audit trail; what readings say of the device (`lastSeenAt`, `epochs` and the like) is left out.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      at: Type.Optional(Instant('The registry as it was at this time')),
      fields: fields(deviceDetailMembers),
    },
    success: { status: 200, description: 'The device', schema: DeviceDetails, headers: etagHeader },
    problems: [404],
    handler: async ({ params: { id }, query, now, setHeader }, { registry }) => {
      if (query.at !== undefined) {
        const at = readInstant(query.at, now, 'query.at');
        const event = await registry.run(lastEventOfDevice, { deviceId: id, at });
        if (event === undefined)
          throw notFound(
            `Nothing is recorded of device ${id} up to ${isoTime(at)}; its events say when it was registered`,
          );
        const { version } = event;
        return onlyFields({ deviceId: id, ...presentState(event.state), registered: true, version }, query.fields);
      }
      const device = await registry.run(getDevice, { deviceId: id });
      if (!device) throw unknownDevice(id);
      setHeader('ETag', etagOf(device.version));
      const wantsEpochs = query.fields === undefined || query.fields.includes('epochs');
      const epochs = wantsEpochs ? await registry.run(epochsOf, { deviceId: id }) : [];
      const shown = {
        ...presentDevice(device, now),
        epochs: epochs.map(({ epoch, firstSeenAt, lastSeq }) => ({
          epoch,
          firstSeenAt: isoTime(firstSeenAt),
          lastSeq,
        })),
      };
      return onlyFields(shown, query.fields);
    },
  }),
];

export function etagOf(version: number): string {
  return `"${version}"`;
}

export function unknownDevice(id: string) {
  return notFound(`Device ${id} is unknown`);
}

function readSeenSince(text: string | undefined, now: number): number | undefined {
  return text === undefined ? undefined : readInstant(text, now, 'query.seenSince');
}
