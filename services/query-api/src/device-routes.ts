import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { badRequest, notFound } from '@fleetwire/runtime/problem';
import { type DeviceSummary, getDevice, listDevices } from '@fleetwire/store/readers';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from './cursor.ts';
import { route } from './route.ts';
import { Device, DeviceDetails, PageOf, toPage } from './schemas.ts';
import { Instant, instantForms, isoTime, parseInstant } from './time-range.ts';

const cursors = cursorCodec(Type.Object({ deviceId: DeviceId, seenSince: Type.Optional(positionFields.instant) }));

export const deviceRoutes = [
  route({
    method: 'get',
    path: '/devices',
    operationId: 'listDevices',
    tag: 'Devices',
    summary: 'All devices',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      q: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: limits.deviceIdCharactersMax,
          description: 'Only devices whose id contains this, ignoring case',
        }),
      ),
      seenSince: Type.Optional(Instant('Only devices of which a reading arrived at or after this time')),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Devices in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of devices', schema: PageOf(Device, {}, {}) },
    handler: async ({ query, now }, { registry }) => {
      const { q: search, limit, cursor } = query;
      const scope = { list: 'devices', ...query };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      // The cursor holds the time: `now-6h` means the same on every page.
      const seenSince = before ? before.seenSince : readSeenSince(query.seenSince, now);
      const found = await registry.run(listDevices, { limit: limit + 1, after: before?.deviceId, search, seenSince });
      const { rows, covered, page } = toPage(found, { limit }, ({ deviceId }) =>
        cursors.encode(scope, { deviceId, ...(seenSince !== undefined && { seenSince }) }),
      );
      return { data: rows.map(present), covers: covered, page };
    },
  }),
  route({
    method: 'get',
    path: '/devices/{id}',
    operationId: 'getDevice',
    tag: 'Devices',
    summary: 'One device and its boots (epochs)',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    success: { status: 200, description: 'The device', schema: DeviceDetails },
    problems: [404],
    handler: async ({ params: { id } }, { registry }) => {
      const device = await registry.run(getDevice, { deviceId: id });
      if (!device) throw notFound(`Device ${id} is unknown`);
      const epochs = device.epochs.map(({ epoch, firstSeenAt, lastSeq }) => ({
        epoch,
        firstSeenAt: isoTime(firstSeenAt),
        lastSeq,
      }));
      return { ...present(device), epochs };
    },
  }),
];

function present({ deviceId, firstSeenAt, lastSeenAt, lastTs }: DeviceSummary) {
  return {
    deviceId,
    firstSeenAt: isoTime(firstSeenAt),
    lastSeenAt: lastSeenAt === null ? null : isoTime(lastSeenAt),
    lastTs: lastTs === null ? null : isoTime(lastTs),
  };
}

function readSeenSince(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const seenSince = parseInstant(text, now);
  if (seenSince !== undefined) return seenSince;
  throw badRequest('seenSince is not a time', [
    { field: 'query.seenSince', detail: `is ${JSON.stringify(text)}; expected ${instantForms}` },
  ]);
}
