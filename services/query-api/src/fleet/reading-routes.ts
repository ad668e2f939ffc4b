import { isAhead } from '@fleetwire/contracts/reading';
import { notFound, unprocessable } from '@fleetwire/runtime/problem';
import { onConnection } from '@fleetwire/store/cancellable';
import type { Database } from '@fleetwire/store/database';
import {
  type FleetPosition,
  fleetReadings,
  type FleetReadingsQuery,
  positionOf,
} from '@fleetwire/store/fleet/fleet-readings';
import { estimateReadings } from '@fleetwire/store/series/estimate-readings';
import { type DeviceSelection, selectDevices } from '@fleetwire/store/series/select-devices';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { acceptHeader, exportReadings, streamParameters } from '../exports/readings-stream.ts';
import { formatOf } from '../exports/formats.ts';
import {
  metricsParameters,
  namesOf,
  Numbers,
  pageLimit,
  refusePageParameters,
  spelled,
} from '../reading-parameters.ts';
import { route } from '../route.ts';
import { PageOf, Reading, toPage } from '../schemas.ts';
import { devicesMax } from '../series/ask.ts';
import { requireSelection } from '../series/routes.ts';
import { selectionParameters } from '../series/schemas.ts';
import { Instant, isoTime, parseRange, readInstant, searchedRange } from '../time-range.ts';
import { fleetRoles } from './fleet-question.ts';

/** The cursor holds the range: `now-6h` means the same on every page. */
const cursors = cursorCodec(
  Type.Object({
    from: positionFields.instant,
    to: positionFields.instant,
    at: positionFields.instant,
    streamKey: positionFields.key,
    seq: positionFields.number,
  }),
);

const FleetReading = Type.Object({ deviceId: Type.String(), ...Reading.properties }, { title: 'FleetReading' });

export const fleetReadingRoutes = [
  route({
    method: 'get',
    path: '/readings',
    operationId: 'listReadingsOfFleet',
    tag: 'History',
    summary: 'Readings of many devices',
    description:
      'Sorted by device time or by arrival. Readings with equal times keep one order over all pages, so paging neither skips nor repeats any. ' +
      'One of devices, pattern (`*` for all), tag and type is required; all that are given apply. ' +
      'With `format`, or such a media type in `Accept`, the answer is a stream of all of them in no particular order: docs/exports.md. ' +
      'With `metrics`, `by=receivedAt` or `ingestedSince` the whole range is searched, so it may have no more readings than QUERY_COST_MAX allows.',
    roles: fleetRoles,
    query: {
      ...selectionParameters,
      from: Type.Optional(Instant('Start of the range of device time, included')),
      to: Type.Optional(Instant('End of the range of device time, excluded')),
      ...metricsParameters,
      by: Type.Enum(['ts', 'receivedAt'], { default: 'ts', description: 'Sorted by device time or by arrival' }),
      ingestedSince: Type.Optional(Instant('Only readings that arrived since; the range is still of device time')),
      order: Type.Enum(['desc', 'asc'], { default: 'desc', description: 'Newest or oldest first' }),
      numbers: Numbers,
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 5_000, description: `Readings in one page; ${pageLimit} if left out` }),
      ),
      cursor: Type.Optional(Cursor),
      ...streamParameters,
    },
    headers: acceptHeader,
    success: {
      status: 200,
      description: 'One page of readings',
      schema: PageOf(FleetReading, { ...searchedRange, devices: Type.Integer({ minimum: 0 }) }, {}),
      example: {
        data: [
          {
            deviceId: 'press-7',
            ts: '2026-11-20T16:00:00.000Z',
            epoch: 'b4',
            seq: 17,
            receivedAt: '2026-11-20T16:00:00.041Z',
            metrics: { temperature: 21.5 },
          },
        ],
        covers: {
          from: '2026-11-20T00:00:00.000Z',
          to: '2026-11-21T00:00:00.000Z',
          devices: 1,
          count: 1,
          complete: true,
        },
        page: { next: null },
      },
    },
    problems: [404, 422],
    handler: async ({ query, headers, caller, now, pageBytes, signal }, api) => {
      const { devices, pattern, tag, type, by, order, limit = pageLimit, cursor, numbers } = query;
      requireSelection(query, 'query');
      const selection = { devices, pattern, tag, type };
      const metrics = namesOf(query);
      const format = formatOf(query.format, headers.accept);
      if (format !== undefined) {
        refusePageParameters(query);
        const { layout = 'wide' } = query;
        return exportReadings(
          { format, caller, selection, metrics, ...parseRange(query, now), order: 'asc', layout },
          api,
        ) as never;
      }
      const scope = { list: 'fleet-readings', ...query };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const { from, to } = after ?? parseRange(query, now);
      const receivedSince =
        query.ingestedSince === undefined ? undefined : readInstant(query.ingestedSince, now, 'query.ingestedSince');
      const found = await api.scans.run(page, {
        selection,
        rangeReadingsMax:
          metrics === undefined && by === 'ts' && receivedSince === undefined
            ? Number.POSITIVE_INFINITY
            : api.seriesLimits(caller.role).queryCostMax,
        query: { from, to, metrics, receivedSince, by, order, limit: limit + 1, after, ...pageBytes },
        signal,
      });
      const {
        rows,
        covered,
        page: next,
      } = toPage(found.rows, { limit, bytesMax: pageBytes.bytesMax }, (last) =>
        cursors.encode(scope, { from, to, ...positionOf(last, by) }),
      );
      return {
        data: rows.map(({ deviceKey, ts, epoch, seq, receivedAt, metrics: values }) => ({
          deviceId: found.names.get(deviceKey) ?? '',
          ts: isoTime(ts),
          epoch,
          seq,
          receivedAt: isoTime(receivedAt),
          ...(isAhead({ ts, receivedAt }) && { ahead: true as const }),
          metrics: spelled(values, numbers),
        })),
        covers: { from: isoTime(from), to: isoTime(to), devices: found.names.size, ...covered },
        page: next,
      };
    },
  }),
];

interface PageQuery {
  readonly selection: DeviceSelection;
  readonly rangeReadingsMax: number;
  readonly query: Omit<FleetReadingsQuery, 'deviceKeys'> & { readonly after: FleetPosition | undefined };
  readonly signal?: AbortSignal;
}

async function page(database: Database, { selection, rangeReadingsMax, query, signal }: PageQuery) {
  const { from, to } = query;
  const selected = await onConnection(database.pool, signal, async (client) => {
    const devices = await selectDevices(database, client, selection, devicesMax + 1);
    const field = `query.${Object.keys(selection).find((name) => selection[name as 'tag'] !== undefined)}`;
    if (devices.length === 0 && selection.devices?.length === 1)
      throw notFound(`Device ${selection.devices[0]} is unknown`);
    if (devices.length > devicesMax)
      throw unprocessable('The question selects too many devices', [
        { field, detail: `selects more than ${devicesMax} devices (SERIES_DEVICES_MAX); narrow it, or ask in parts` },
      ]);
    const deviceKeys = devices.map(({ deviceKey }) => deviceKey);
    if (devices.length > 0 && Number.isFinite(rangeReadingsMax)) {
      const readings = await estimateReadings(client, { deviceKeys, from, to }, rangeReadingsMax);
      if (readings > rangeReadingsMax)
        throw unprocessable('The range has too many readings to be searched', [
          {
            field: 'query.from',
            detail: `begins a range with about ${readings} readings; with metrics, by=receivedAt or ingestedSince at most ${rangeReadingsMax} are searched (QUERY_COST_MAX): shorten the range or select fewer devices`,
          },
        ]);
    }
    return devices;
  });
  const names = new Map(selected.map(({ deviceKey, deviceId }) => [deviceKey, deviceId]));
  return { names, rows: await fleetReadings(database, { ...query, deviceKeys: [...names.keys()], signal }) };
}
