import { badRequest } from '@fleetwire/runtime/problem';
import { type Bins, type Histogram, readHistogram } from '@fleetwire/store/fleet/read-histogram';
import { knownMetrics } from '@fleetwire/store/series/known-metrics';
import Type from 'typebox';
import { route } from '../route.ts';
import { Count, questionFreshness } from '../schemas.ts';
import { coversOf, inDoubles, planAndRead, refuseUnknownMetric } from '../series/ask.ts';
import { bucketCountOf } from '../series/buckets.ts';
import {
  intervalParameter,
  rangeParameters,
  selectionParameters,
  SeriesCost,
  SeriesCovers,
  whereParameter,
} from '../series/schemas.ts';
import { fleetQuestion, fleetRoles, metricParameters, oneMetric } from './fleet-question.ts';

const binsMax = 500;
const defaultBins = 50;

const Counts = Type.Union([Type.Array(Count), Type.Array(Type.Array(Count))]);

export const histogramRoutes = [
  route({
    method: 'get',
    path: '/histogram',
    operationId: 'getHistogram',
    tag: 'Fleet',
    question: true,
    conditional: true,
    summary: 'How often a metric has which value; with an interval, a heat map',
    description:
      'Counts the numbers of one metric of all devices that are selected (without a selection: all) by their value. A bin has its start, and not its end; of `bins` the last has both. Exact, from stored readings.',
    roles: fleetRoles,
    query: {
      ...selectionParameters,
      ...metricParameters,
      ...rangeParameters,
      interval: intervalParameter,
      where: whereParameter,
      bins: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: binsMax,
          description: `Bins of equal length between the least and the greatest value; ${defaultBins} if neither bins nor edges are given`,
        }),
      ),
      edges: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 30 }), {
          minItems: 2,
          maxItems: binsMax + 1,
          description: 'Where bins begin and the last ends: growing numbers, separated by commas',
        }),
      ),
    },
    success: {
      status: 200,
      description: 'The counts',
      schema: Type.Object(
        {
          metric: Type.String(),
          interval: Type.Union([Type.String(), Type.Null()]),
          tz: Type.String(),
          edges: Type.Array(Type.Number(), {
            description: 'One more than there are bins; empty where the range has no number',
          }),
          t: Type.Optional(Type.Array(Type.Integer(), { description: 'Where each bucket begins, epoch milliseconds' })),
          counts: Type.Unsafe<number[] | number[][]>(Counts),
          below: Type.Unsafe<number | number[]>(Type.Union([Count, Type.Array(Count)])),
          above: Type.Unsafe<number | number[]>(Type.Union([Count, Type.Array(Count)])),
          covers: SeriesCovers,
          cost: SeriesCost,
          ...questionFreshness,
        },
        {
          title: 'HistogramAnswer',
          description: 'With `interval`, counts, below and above have an element for each bucket',
        },
      ),
      example: {
        metric: 'temperature',
        interval: null,
        tz: 'UTC',
        edges: [0, 10, 20, 30],
        counts: [4, 1290, 146],
        below: 0,
        above: 2,
        covers: {
          from: '2026-11-20T00:00:00.000Z',
          to: '2026-11-21T00:00:00.000Z',
          completeUntil: '2026-11-21T16:00:03.120Z',
          source: 'raw',
          tilesRolledUp: 0,
          tilesRaw: 24,
          partial: [],
          unknown: [],
          notNumeric: {},
          devices: 1,
          values: 1442,
        },
        cost: { units: 1450, limit: 2000000, ms: 4.2 },
      },
    },
    problems: [404, 422],
    handler: async ({ query, caller, ...call }, api) => {
      const startedAt = performance.now();
      const { bins, edges, ...rest } = query;
      const wanted = binsOf(bins, edges);
      // Every value is needed, as for a percentile: so the cost is that of stored readings.
      const { question, asked } = fleetQuestion({ ...rest, agg: ['p50'] }, call.now, {
        path: '/histogram',
        changed: { agg: undefined, groupBy: undefined, bins, edges },
      });
      const metric = oneMetric(question);
      return inDoubles(asked, async () => {
        const limits = api.seriesLimits(caller.role);
        const numbers = ('edges' in wanted ? wanted.edges.length : wanted.count) * bucketCountOf(question);
        const { plan, found: read } = await planAndRead(question, { ...call, asked, limits }, api, {
          numbers,
          isHeavy: true,
          read: async ({ database, client, reads }) => {
            const { query: seriesQuery, plan: chosen } = reads.now!;
            const found = await readHistogram(database, client, seriesQuery, chosen, wanted);
            return { found, isKnown: found.counts.length > 0 || (await knownMetrics(client, seriesQuery)).size > 0 };
          },
        });
        const { devices, buckets } = plan;
        const { found, isKnown } = read;
        const values = found.counts.reduce((sum, { count }) => sum + count, 0);
        if (values === 0) refuseUnknownMetric(question, devices, isKnown);
        const heat = buckets.map((_, index) => countsOf(found, index));
        const inAnswer = question.interval === undefined ? heat[0]! : undefined;
        return {
          metric,
          interval: question.interval?.text ?? null,
          tz: question.timeZone,
          edges: [...found.edges],
          ...(inAnswer === undefined && { t: buckets.map(({ start }) => start) }),
          counts: inAnswer?.counts ?? heat.map(({ counts }) => counts),
          below: inAnswer?.below ?? heat.map(({ below }) => below),
          above: inAnswer?.above ?? heat.map(({ above }) => above),
          covers: {
            ...coversOf(question, { plan, now: call.now, unknownMetrics: [], source: found }),
            notNumeric: {},
            values,
          },
          cost: {
            units: plan.cost.units,
            limit: plan.cost.limit,
            ms: Math.round((performance.now() - startedAt) * 10) / 10,
          },
        };
      });
    },
  }),
];

function countsOf({ edges, counts }: Histogram, bucket: number) {
  const bins = Math.max(0, edges.length - 1);
  const ofBins = Array.from({ length: bins + 2 }, () => 0);
  for (const one of counts) if (one.bucket === bucket) ofBins[one.bin] = one.count;
  return { below: ofBins[0]!, counts: ofBins.slice(1, bins + 1), above: bins === 0 ? 0 : ofBins[bins + 1]! };
}

/** @throws {Problem} 400 */
function binsOf(bins: number | undefined, edges: readonly string[] | undefined): Bins {
  if (edges === undefined) return { count: bins ?? defaultBins };
  if (bins !== undefined) throw refused('bins', 'is given with edges; give one of them');
  const numbers = edges.map((text) => (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/.test(text) ? Number(text) : NaN));
  const wrong = numbers.findIndex((one, index) => !Number.isFinite(one) || (index > 0 && one <= numbers[index - 1]!));
  if (wrong !== -1)
    throw refused(
      'edges',
      `has ${JSON.stringify(edges[wrong])}; expected finite numbers, each greater than the one before`,
    );
  return { edges: numbers };
}

function refused(name: string, detail: string) {
  return badRequest('The question is not valid', [{ field: `query.${name}`, detail }]);
}
