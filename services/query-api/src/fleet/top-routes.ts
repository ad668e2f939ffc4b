import { planSeries } from '@fleetwire/store/series/plan-series';
import { readPlanned } from '@fleetwire/store/series/read-series';
import type { SeriesQuery, SeriesRow } from '@fleetwire/store/series/series-query';
import Type from 'typebox';
import { route } from '../route.ts';
import { type AskedAggregate, columnsOf } from '../series/aggregates.ts';
import { findSeries, inDoubles, type Reading } from '../series/ask.ts';
import type { Group } from '../series/groups.ts';
import { aggregateOf, byParameter, fleetQuestion, fleetRoles, metricParameters, oneMetric } from './fleet-question.ts';
import { rangeParameters, selectionParameters, SeriesCost, SeriesCovers, whereParameter } from '../series/schemas.ts';
import { questionFreshness } from '../schemas.ts';
import { isoTime } from '../time-range.ts';

const Ranked = Type.Object(
  {
    rank: Type.Integer({ minimum: 1 }),
    deviceId: Type.Optional(Type.String()),
    group: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]))),
    devices: Type.Optional(Type.Integer({ minimum: 0, description: 'Devices of the group' })),
    value: Type.Number(),
    at: Type.Optional(
      Type.String({ format: 'date-time', description: 'Device time of the value: with min, max, first and last' }),
    ),
    count: Type.Integer({ minimum: 0, description: 'Numbers in the range' }),
  },
  { title: 'Ranked' },
);

export const topRoutes = [
  route({
    method: 'get',
    path: '/top',
    operationId: 'getTop',
    tag: 'Fleet',
    question: true,
    conditional: true,
    summary: 'Devices or groups with the greatest or smallest aggregate of a metric',
    description:
      'Ranks all devices that are selected (without a selection: all), or groups of them, by one aggregate over the range. Equal values keep the order of device ids. Devices without a number in the range are left out.',
    roles: fleetRoles,
    query: {
      ...selectionParameters,
      ...metricParameters,
      agg: Type.String({ minLength: 1, maxLength: 10, default: 'avg', description: 'What is ranked: an aggregate' }),
      ...rangeParameters,
      where: whereParameter,
      by: byParameter,
      n: Type.Integer({ minimum: 1, maximum: 1_000, default: 10, description: 'How many are listed' }),
      order: Type.Enum(['desc', 'asc'], { default: 'desc', description: 'Greatest or smallest first' }),
    },
    success: {
      status: 200,
      description: 'The first n, in order',
      schema: Type.Object(
        {
          metric: Type.String(),
          agg: Type.String(),
          data: Type.Array(Ranked),
          covers: SeriesCovers,
          cost: SeriesCost,
          ...questionFreshness,
        },
        { title: 'TopAnswer' },
      ),
      example: {
        metric: 'temperature',
        agg: 'max',
        data: [
          { rank: 1, deviceId: 'press-7', value: 88.1, at: '2026-11-20T16:03:12.000Z', count: 1440 },
          { rank: 2, deviceId: 'press-2', value: 80, at: '2026-11-20T09:12:00.000Z', count: 1380 },
        ],
        covers: {
          from: '2026-11-20T00:00:00.000Z',
          to: '2026-11-21T00:00:00.000Z',
          completeUntil: '2026-11-21T16:00:03.120Z',
          source: '1h',
          tilesRolledUp: 48,
          tilesRaw: 0,
          partial: [],
          unknown: [],
          notNumeric: {},
          devices: 2,
          values: 2820,
        },
        cost: { units: 11, limit: 2000000, ms: 3.4 },
      },
    },
    problems: [404, 422],
    handler: async ({ query, caller, ...call }, api) => {
      const { agg, n, order, by, ...rest } = query;
      const ranked = aggregateOf(agg);
      const { question, asked } = fleetQuestion(
        { ...rest, agg: [isTimed(ranked) ? 'm4' : agg], groupBy: by },
        call.now,
        { path: '/top', changed: { agg, n, order, by, groupBy: undefined } },
      );
      const metric = oneMetric(question);
      return inDoubles(asked, async () => {
        const limits = api.seriesLimits(caller.role);
        const valueOf = valueReader(ranked);
        const first = (rows: readonly SeriesRow[], groups: readonly Group[]) =>
          firstOf(groups, rows, { valueOf, order, n });
        const time = timeOf(ranked);
        const found = await findSeries(question, { ...call, asked, limits }, api, {
          numbers: 2 * n,
          ...(time !== undefined &&
            !isTimed(ranked) && {
              more: (rows, reading) => readTimes(first(rows, reading.plan.grouping.groups), reading),
            }),
        });
        const timed = new Map((found.read.more ?? found.read.now.rows).map((row) => [row.group, row]));
        return {
          metric,
          agg,
          data: first(found.read.now.rows, found.plan.grouping.groups).map(({ group, name, value, count }, index) => {
            const at = time && timed.get(group)?.[time]?.[1];
            return { rank: index + 1, ...name, value, ...(at !== undefined && { at: isoTime(at) }), count };
          }),
          covers: found.covers,
          cost: found.cost,
        };
      });
    },
  }),
];

interface Placed {
  readonly group: number;
  readonly name: object;
  readonly value: number;
  readonly count: number;
}

interface Ranking {
  readonly valueOf: (row: SeriesRow) => number | undefined;
  readonly order: 'desc' | 'asc';
  readonly n: number;
}

/** Groups with a value, in order; equal ones keep the order of the groups. */
function firstOf(groups: readonly Group[], rows: readonly SeriesRow[], { valueOf, order, n }: Ranking): Placed[] {
  const byGroup = new Map(rows.map((row) => [row.group, row]));
  const placed = groups.flatMap(({ number, name }) => {
    const row = byGroup.get(number);
    const value = row && valueOf(row);
    return value === undefined ? [] : [{ group: number, name, value, count: row!.numbers }];
  });
  placed.sort((a, b) => (order === 'desc' ? b.value - a.value : a.value - b.value));
  return placed.slice(0, n);
}

/** The times of the values, of these groups only: to find the time of a value costs more than the value. */
async function readTimes(placed: readonly Placed[], { database, client, catalog, reads }: Reading) {
  const chosen = new Set(placed.map(({ group }) => group));
  const { query } = reads.now!;
  const { groups } = query;
  const members = (groups?.numbers ?? []).flatMap((number, index) =>
    chosen.has(number) ? [{ number, deviceKey: groups!.deviceKeys[index]! }] : [],
  );
  const ofChosen: SeriesQuery = {
    ...query,
    aggregates: new Set(['m4']),
    deviceKeys: groups === undefined ? [...chosen] : [...new Set(members.map(({ deviceKey }) => deviceKey))],
    groups: groups && {
      deviceKeys: members.map(({ deviceKey }) => deviceKey),
      numbers: members.map(({ number }) => number),
    },
  };
  const plan = await planSeries(client, catalog, ofChosen);
  return (await readPlanned(database, client, ofChosen, plan)).rows;
}

/** A first or last number is read with its time: the first value may be none. */
function isTimed({ kind }: AskedAggregate): boolean {
  return kind === 'first' || kind === 'last';
}

/** The member of a row that has the value with its time. */
function timeOf({ kind }: AskedAggregate): 'm4First' | 'm4Min' | 'm4Max' | 'm4Last' | undefined {
  return ({ first: 'm4First', min: 'm4Min', max: 'm4Max', last: 'm4Last' } as const)[kind as 'min'];
}

function valueReader(aggregate: AskedAggregate): Ranking['valueOf'] {
  if (isTimed(aggregate)) return (row) => row[timeOf(aggregate)!]?.[0];
  const [column] = columnsOf(aggregate, 0);
  return (row) => {
    const value = column!.valueIn(row);
    return typeof value === 'number' ? value : undefined;
  };
}
