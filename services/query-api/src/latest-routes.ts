import { DeviceId } from '@fleetwire/contracts/identifiers';
import { isAhead } from '@fleetwire/contracts/reading';
import { notFound } from '@fleetwire/runtime/problem';
import { lastArrivalOf, latestOf, latestOfAll, type LatestRow, type StoredReading } from '@fleetwire/store/readers';
import Type, { type Static } from 'typebox';
import { Cursor, cursorCodec } from './cursor.ts';
import { route } from './route.ts';
import { freshness, LatestState, PageOf, toPage } from './schemas.ts';
import { isoTime } from './time-range.ts';

const cursors = cursorCodec(Type.Object({ deviceId: DeviceId }));

export const latestOfDevice = route({
  method: 'get',
  path: '/devices/{id}/latest',
  operationId: 'getLatestOfDevice',
  tag: 'Latest',
  conditional: true,
  summary: 'Latest state of one device',
  roles: ['device', 'analyst', 'operator', 'admin'],
  description:
    'By device time, the newest value of each metric. With `by=arrival` the reading that arrived last, whatever time it has: of a device whose clock is wrong.',
  params: { id: DeviceId },
  query: {
    by: Type.Enum(['ts', 'arrival'], { default: 'ts', description: 'Newest by device time, or by arrival' }),
  },
  success: {
    status: 200,
    description: 'The newest value of each metric, or the reading that arrived last',
    schema: LatestState,
  },
  problems: [404],
  handler: async ({ params: { id }, query: { by }, signal }, { latest }) => {
    if (by === 'arrival') {
      const reading = await latest.run(lastArrivalOf, { deviceId: id, signal });
      if (reading === undefined)
        throw notFound(`No reading is stored for device ${id}, or its last one is no longer kept`);
      return presentReading(id, reading);
    }
    const state = await latest.run(latestOf, { deviceId: id, signal });
    if (!state) throw notFound(`No reading is stored for device ${id}`);
    return present(state);
  },
});

export const latestRoutes = [
  route({
    method: 'get',
    path: '/data',
    operationId: 'getLatestOfAll',
    tag: 'Latest',
    conditional: true,
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
  latestOfDevice,
];

/** As a state in which all metrics have the time of the reading. */
function presentReading(deviceId: string, { ts, receivedAt, metrics }: StoredReading): Static<typeof LatestState> {
  const time = isoTime(ts);
  return {
    deviceId,
    ts: time,
    receivedAt: isoTime(receivedAt),
    ...(isAhead({ ts, receivedAt }) && { ahead: true as const }),
    metrics,
    metricTimes: Object.fromEntries(Object.keys(metrics).map((name) => [name, time])),
  };
}

function present({ deviceId, ts, receivedAt, metrics }: LatestRow): Static<typeof LatestState> {
  const newest = isoTime(ts);
  const entries = Object.entries(metrics);
  return {
    deviceId,
    ts: newest,
    receivedAt: receivedAt === ts ? newest : isoTime(receivedAt),
    metrics: Object.fromEntries(entries.map(([name, { value }]) => [name, value])),
    // Most have the time of the newest.
    metricTimes: Object.fromEntries(
      entries.map(([name, metric]) => [name, metric.ts === ts ? newest : isoTime(metric.ts)]),
    ),
  };
}
