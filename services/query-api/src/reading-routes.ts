import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { isAhead } from '@fleetwire/contracts/reading';
import { notFound } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import { getDevice, readings, type StoredReadingsQuery } from '@fleetwire/store/readers';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from './cursor.ts';
import { route } from './route.ts';
import { PageOf, Reading, toPage } from './schemas.ts';
import { Instant, isoTime, parseRange } from './time-range.ts';

/** The cursor holds the range: `now-6h` means the same on every page. */
const cursors = cursorCodec(
  Type.Object({
    from: positionFields.instant,
    to: positionFields.instant,
    ts: positionFields.instant,
    streamKey: positionFields.key,
    seq: positionFields.number,
  }),
);

const covers = {
  from: Type.String({ format: 'date-time', description: 'Start of the range that was searched, included' }),
  to: Type.String({ format: 'date-time', description: 'End of the range that was searched, excluded' }),
};

export const readingRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/readings',
    operationId: 'listReadings',
    tag: 'History',
    summary: 'Readings of one device',
    description:
      'Sorted by device time. Readings with equal times keep one order over all pages, so paging neither skips nor repeats any. ' +
      'Without `from` and `to`, all readings. A page of large readings ends before `limit`; `page.next` continues it.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      from: Type.Optional(Instant('Start of the range of device time, included')),
      to: Type.Optional(Instant('End of the range of device time, excluded')),
      metrics: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax }), {
          minItems: 1,
          maxItems: 50,
          description: 'Only these metrics, separated by commas; readings without any of them are left out',
        }),
      ),
      order: Type.Enum(['desc', 'asc'], { default: 'desc', description: 'Newest or oldest first' }),
      limit: Type.Integer({ minimum: 1, maximum: 5_000, default: 500, description: 'Readings in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: {
      status: 200,
      description: 'One page of readings',
      schema: PageOf(Reading, covers, { deviceId: Type.String() }),
    },
    problems: [404],
    handler: async ({ params: { id }, query, now, pageBytes }, { history, scans }) => {
      const { metrics, order, limit, cursor } = query;
      const scope = { list: 'readings', id, ...query };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const { from, to } = before ?? parseRange(query, now);
      // With a filter, a page may need many rows.
      const database = metrics === undefined ? history : scans;
      const found = await database.run(readingsOfKnownDevice, {
        deviceId: id,
        from,
        to,
        metrics,
        order,
        limit: limit + 1,
        after: before,
        ...pageBytes,
      });
      if (!found) throw notFound(`Device ${id} is unknown`);
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ position }) =>
        cursors.encode(scope, { from, to, ...position }),
      );
      return {
        deviceId: id,
        data: rows.map(({ ts, epoch, seq, receivedAt, metrics: values }) => ({
          ts: isoTime(ts),
          epoch,
          seq,
          receivedAt: isoTime(receivedAt),
          ...(isAhead({ ts, receivedAt }) && { ahead: true as const }),
          metrics: values,
        })),
        covers: { from: isoTime(from), to: isoTime(to), ...covered },
        page,
      };
    },
  }),
];

/** @returns undefined where the device is unknown */
async function readingsOfKnownDevice(database: Database, query: StoredReadingsQuery) {
  const rows = await readings(database, query);
  if (rows.length > 0 || query.after !== undefined) return rows;
  return (await getDevice(database, query)) && rows;
}
