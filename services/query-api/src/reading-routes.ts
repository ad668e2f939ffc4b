import { DeviceId } from '@fleetwire/contracts/identifiers';
import { isAhead } from '@fleetwire/contracts/reading';
import { notFound } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import { readings, type StoredReadingsQuery } from '@fleetwire/store/readers';
import { getDevice } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from './cursor.ts';
import { acceptHeader, exportReadings, streamParameters } from './exports/readings-stream.ts';
import { formatOf } from './exports/formats.ts';
import { metricsParameters, namesOf, Numbers, pageLimit, refusePageParameters, spelled } from './reading-parameters.ts';
import { route } from './route.ts';
import { PageOf, Reading, toPage } from './schemas.ts';
import { Instant, isoTime, parseRange, searchedRange } from './time-range.ts';

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

/**
 * A shared cache may keep a page whose range has ended, for callers with the same token only: for a second, so that late readings appear in it,
 * and for ten minutes while this service is unavailable.
 */
const keepable = {
  'Cache-Control': 'max-age=0, s-maxage=1, stale-if-error=600',
  Vary: 'Authorization, Cookie, Origin',
};

export const readingRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/readings',
    operationId: 'listReadings',
    tag: 'History',
    conditional: true,
    summary: 'Readings of one device',
    description:
      'Sorted by device time. Readings with equal times keep one order over all pages, so paging neither skips nor repeats any. ' +
      'Without `from` and `to`, all readings. A page of large readings ends before `limit`; `page.next` continues it. ' +
      'With `format`, or such a media type in `Accept`, the answer is a stream of all of them, oldest first by default: docs/exports.md.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      from: Type.Optional(Instant('Start of the range of device time, included')),
      to: Type.Optional(Instant('End of the range of device time, excluded')),
      ...metricsParameters,
      order: Type.Optional(
        Type.Enum(['desc', 'asc'], {
          description: 'Newest or oldest first; if left out, a page has the newest first, a stream the oldest',
        }),
      ),
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 5_000, description: `Readings in one page; ${pageLimit} if left out` }),
      ),
      numbers: Numbers,
      cursor: Type.Optional(Cursor),
      ...streamParameters,
    },
    headers: acceptHeader,
    success: {
      status: 200,
      description: 'One page of readings',
      schema: PageOf(Reading, searchedRange, { deviceId: Type.String() }),
    },
    problems: [404, 422],
    handler: async ({ params: { id }, query, headers, caller, now, pageBytes, setHeader }, api) => {
      const { order = 'desc', limit = pageLimit, cursor, numbers } = query;
      const metrics = namesOf(query);
      const { history, scans } = api;
      const format = formatOf(query.format, headers.accept);
      if (format !== undefined) {
        refusePageParameters(query);
        const wanted = { selection: { devices: [id] }, onlyDevice: id, metrics, order: query.order ?? 'asc' };
        const { layout = 'wide' } = query;
        return exportReadings({ format, caller, ...wanted, ...parseRange(query, now), layout }, api) as never;
      }
      const scope = { list: 'readings', id, ...query, order };
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
      // A session can be ended; a shared cache would go on answering for it.
      if (to <= now && caller.session === undefined)
        for (const [name, value] of Object.entries(keepable)) setHeader(name, value);
      return {
        deviceId: id,
        data: rows.map(({ ts, epoch, seq, receivedAt, metrics: values }) => ({
          ts: isoTime(ts),
          epoch,
          seq,
          receivedAt: isoTime(receivedAt),
          ...(isAhead({ ts, receivedAt }) && { ahead: true as const }),
          metrics: spelled(values, numbers),
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
