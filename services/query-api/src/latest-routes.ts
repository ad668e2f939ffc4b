import { DeviceId } from '@fleetwire/contracts/identifiers';
import { notFound } from '@fleetwire/runtime/problem';
import { latestOf, latestOfAll, type LatestRow } from '@fleetwire/store/readers';
import Type, { type Static } from 'typebox';
import { Cursor, cursorCodec } from './cursor.ts';
import { route } from './route.ts';
import { freshness, LatestState, PageOf, toPage } from './schemas.ts';
import { isoTime } from './time-range.ts';

const cursors = cursorCodec(Type.Object({ deviceId: DeviceId }));

export const latestRoutes = [
  route({
    method: 'get',
    path: '/data',
    operationId: 'getLatestOfAll',
    tag: 'Latest',
    summary: 'Latest state of all devices',
    description:
      'Sorted by device id. While the database is unavailable, the last good answer for the same parameters is returned, marked `stale`.',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 5_000, default: 1_000, description: 'Devices in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of devices', schema: PageOf(LatestState, {}, freshness) },
    handler: async ({ query: { limit, cursor }, pageBytes }, { latest, lastLatest }) => {
      const scope = { list: 'latest' };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor).deviceId;
      const { value, asOf, stale } = await lastLatest.read(`${limit} ${after ?? ''}`, () =>
        latest.run(latestOfAll, { limit: limit + 1, after, ...pageBytes }),
      );
      const { rows, covered, page } = toPage(value, { limit, bytesMax: pageBytes.bytesMax }, ({ deviceId }) =>
        cursors.encode(scope, { deviceId }),
      );
      return { asOf: isoTime(asOf), stale, data: rows.map(present), covers: covered, page };
    },
  }),
  route({
    method: 'get',
    path: '/devices/{id}/latest',
    operationId: 'getLatestOfDevice',
    tag: 'Latest',
    summary: 'Latest state of one device',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    success: { status: 200, description: 'The newest value of each metric', schema: LatestState },
    problems: [404],
    handler: async ({ params: { id } }, { latest }) => {
      const state = await latest.run(latestOf, { deviceId: id });
      if (!state) throw notFound(`No reading is stored for device ${id}`);
      return present(state);
    },
  }),
];

function present({ deviceId, ts, receivedAt, metrics }: LatestRow): Static<typeof LatestState> {
  const entries = Object.entries(metrics);
  return {
    deviceId,
    ts: isoTime(ts),
    receivedAt: isoTime(receivedAt),
    metrics: Object.fromEntries(entries.map(([name, { value }]) => [name, value])),
    metricTimes: Object.fromEntries(entries.map(([name, metric]) => [name, isoTime(metric.ts)])),
  };
}
