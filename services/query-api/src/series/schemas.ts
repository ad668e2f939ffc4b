import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { DeviceType, Tag } from '@fleetwire/contracts/device-registry';
import Type from 'typebox';
import { FormatParameter } from '../exports/formats.ts';
import { Repeated } from '../parameters.ts';
import { questionFreshness, replicaLag } from '../schemas.ts';
import { Instant } from '../time-range.ts';
import { aggregateForms } from './aggregates.ts';
import { devicesMax } from './ask.ts';
import { filledBucketsMax } from './buckets.ts';
import { intervalForms, offsetForms } from './intervals.ts';
import { fills, layouts, questionLimits } from './question.ts';

export const MetricName = Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax });
const { metricsMax, aggregatesMax, filtersMax } = questionLimits;
const urlDevicesMax = 100;

const pattern = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: limits.patternCharactersMax,
    pattern: `^[A-Za-z0-9._:?-]*(\\*[A-Za-z0-9._:?-]*){0,${limits.patternStarsMax}}$`,
    description: `Only devices whose whole id matches: * is any text (at most ${limits.patternStarsMax} of them), ? one character`,
    examples: ['press-*'],
  }),
);
const tag = Type.Optional(Tag);
const type = Type.Optional(DeviceType);

export const rangeParameters = {
  from: Type.Optional(Instant('Start of the range, included; `now-24h` if left out. A date is its midnight in `tz`')),
  to: Type.Optional(Instant('End of the range, excluded; `now` if left out')),
  tz: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 64,
      description: 'Time zone of days, weeks, months and years, and of hours but `1h`; UTC if left out',
    }),
  ),
};

export const intervalParameter = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: 10,
    description: `Length of a bucket: ${intervalForms}. One bucket if left out`,
  }),
);

const shared = {
  ...rangeParameters,
  interval: intervalParameter,
  maxPoints: Type.Optional(
    Type.Integer({
      minimum: 10,
      maximum: 4_000,
      description: 'Chooses the smallest interval with at most so many buckets: the width of a chart in pixels',
    }),
  ),
  fill: Type.Optional(
    Type.Enum([...fills], {
      description:
        'What an empty bucket has: `null`; `none`: it is not listed; `locf`: the last value before; `linear`: the line between its neighbours',
    }),
  ),
  fillMaxMs: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 366 * 86_400_000,
      description: `How long \`locf\` repeats a value; ${filledBucketsMax} buckets if left out`,
    }),
  ),
  format: Type.Optional(FormatParameter),
  offset: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 12,
      description: `Compares: each series has \`before\` with the same buckets so much earlier; ${offsetForms}. Days and more are those of the calendar of \`tz\``,
    }),
  ),
  downsample: Type.Optional(
    Type.Enum(['lttb'], {
      description:
        '`lttb`: at most `maxPoints` stored values of each series, each with its own time, of which a line looks like that of all; instead of `agg`, `interval`, `fill` and `offset`',
    }),
  ),
  layout: Type.Optional(
    Type.Enum([...layouts], {
      description: '`columns`: one array for each aggregate; `rows`: one object for each bucket',
    }),
  ),
};

const agg = { description: `Aggregates: ${aggregateForms}; \`avg\` if left out` };
const where = 'Only readings whose metric is such a number: temperature>=5, with < <= > >= = or !=';
const GroupBy = Type.String({
  minLength: 1,
  maxLength: 80,
  description: '`device`, `type`, `none`, or `tag:<key>`: the tag site:north is in the group north of `tag:site`',
});

/** The devices of a question, in a URL. */
export const selectionParameters = {
  devices: Type.Optional(
    Type.Array(DeviceId, { minItems: 1, maxItems: urlDevicesMax, description: 'Only these devices' }),
  ),
  pattern,
  tag,
  type,
};

export const whereParameter = Type.Optional(
  Repeated(Type.String({ minLength: 1, maxLength: 160 }), { maxItems: filtersMax, description: where }),
);

/** Parameters of a question about one device. */
export const questionParameters = {
  metrics: Type.Optional(
    Type.Array(MetricName, { minItems: 1, maxItems: metricsMax, description: 'Names of metrics, separated by commas' }),
  ),
  metric: Type.Optional(
    Repeated(MetricName, {
      maxItems: metricsMax,
      description: 'One name, which may contain commas; repeat the parameter for more',
    }),
  ),
  agg: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 10 }), { minItems: 1, maxItems: aggregatesMax, ...agg }),
  ),
  ...shared,
  where: whereParameter,
};

export const fleetParameters = {
  ...selectionParameters,
  ...questionParameters,
  groupBy: Type.Optional(GroupBy),
};

export const SeriesQuestion = Type.Object(
  {
    devices: Type.Optional(
      Type.Array(DeviceId, { minItems: 1, maxItems: devicesMax, description: 'Only these devices' }),
    ),
    pattern,
    tag,
    type,
    metrics: Type.Array(MetricName, { minItems: 1, maxItems: metricsMax }),
    agg: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 10 }), { minItems: 1, maxItems: aggregatesMax, ...agg }),
    ),
    ...shared,
    groupBy: Type.Optional(GroupBy),
    where: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 160 }), { maxItems: filtersMax, description: where }),
    ),
  },
  { additionalProperties: false, title: 'SeriesQuestion' },
);

const Range = Type.Tuple([Type.Integer({ minimum: 0 }), Type.Integer({ minimum: 0 })]);
const Time = Type.String({ format: 'date-time' });

/** What an answer covers, and where its numbers come from. */
export const SeriesCovers = Type.Object({
  ...replicaLag,
  from: Time,
  to: Time,
  completeUntil: Type.Union([Time, Type.Null()], {
    description:
      'Every reading that was acknowledged before this time is in the answer, or a dead letter; null: not known',
  }),
  completeWhy: Type.Optional(
    Type.Object({ reason: Type.Enum(['no-edge-known', 'edges-silent']), edges: Type.Optional(Type.Integer()) }),
  ),
  source: Type.Enum(['raw', '1m', '1h', 'mixed'], {
    description:
      'Where the numbers come from: stored readings, rollups of minutes or hours, or both; they are the same',
  }),
  tilesRolledUp: Type.Integer({
    minimum: 0,
    description: 'Hours of devices, also without readings, that rollups answered',
  }),
  tilesRaw: Type.Integer({ minimum: 0, description: 'Hours of devices that stored readings answered' }),
  partial: Type.Array(
    Type.Object({ from: Time, to: Time, why: Type.Enum(['bucket-cut', 'running', 'incomplete', 'raw-expired']) }),
    {
      description:
        'Buckets that the range cuts, the one that is not over yet, what may still arrive, and times of which the stored readings that the question needs were removed',
    },
  ),
  unknown: Type.Array(Type.Union([Type.Object({ deviceId: Type.String() }), Type.Object({ metric: Type.String() })]), {
    description: 'Devices and metrics that were never seen',
  }),
  notNumeric: Type.Record(Type.String(), Type.Integer(), {
    description: 'By metric: values that are not numbers, which numeric aggregates left out',
  }),
  devices: Type.Integer({ minimum: 0 }),
  values: Type.Integer({ minimum: 0, description: 'Values in the range' }),
});

export const SeriesCost = Type.Object({
  units: Type.Integer({ description: 'As estimated before it ran' }),
  limit: Type.Integer(),
  ms: Type.Number(),
});
const named = {
  deviceId: Type.Optional(Type.String()),
  group: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]))),
  devices: Type.Optional(Type.Integer({ minimum: 0, description: 'Devices of the group' })),
  metric: Type.String(),
};

const Series = Type.Object(
  {
    ...named,
    filled: Type.Optional(
      Type.Array(Range, { description: 'Positions that were filled: first, and the one after the last' }),
    ),
    capped: Type.Optional(
      Type.Array(Type.Integer(), { description: 'Positions with more different values than are counted' }),
    ),
    before: Type.Optional(
      Type.Object({}, { additionalProperties: true, description: 'With `offset`: the same arrays' }),
    ),
  },
  {
    title: 'Series',
    additionalProperties: true,
    description:
      'And an array for each aggregate, with an element for each bucket; m4 has eight: first, firstAt, min, minAt, max, maxAt, last, lastAt',
  },
);

const SeriesRow = Type.Object(
  { t: Time, ...named, filled: Type.Optional(Type.Literal(true)), capped: Type.Optional(Type.Literal(true)) },
  { title: 'SeriesRow', additionalProperties: true, description: 'And a member for each aggregate' },
);

export const SeriesAnswer = Type.Object(
  {
    ...questionFreshness,
    interval: Type.Union([Type.String(), Type.Null()]),
    tz: Type.String(),
    resolution: Type.Enum(['raw', '1m', '1h'], { description: 'The finest data that exists for the whole range' }),
    t: Type.Optional(
      Type.Array(Type.Integer(), {
        description:
          'Where each bucket begins, epoch milliseconds; with `downsample` each series has a `t` and a `value` of its own',
      }),
    ),
    series: Type.Optional(Type.Array(Series)),
    rows: Type.Optional(Type.Array(SeriesRow)),
    covers: SeriesCovers,
    cost: SeriesCost,
  },
  { title: 'SeriesAnswer' },
);

export const answerExample = {
  interval: '5m',
  tz: 'UTC',
  resolution: 'raw',
  t: [1795190400000, 1795190700000, 1795191000000],
  series: [{ deviceId: 'press-7', metric: 'temperature', avg: [21.53, null, 21.61], max: [22.1, null, 22.4] }],
  covers: {
    from: '2026-11-20T16:00:00.000Z',
    to: '2026-11-20T16:15:00.000Z',
    completeUntil: '2026-11-21T16:00:03.120Z',
    source: 'raw',
    tilesRolledUp: 0,
    tilesRaw: 1,
    partial: [],
    unknown: [],
    notNumeric: {},
    devices: 1,
    values: 20,
  },
  cost: { units: 21, limit: 2000000, ms: 1.9 },
};

export const questionExample = {
  tag: 'site:north',
  metrics: ['temperature'],
  agg: ['avg'],
  interval: '1d',
  tz: 'Europe/Berlin',
  from: '2026-10-20',
  to: '2026-10-28',
  groupBy: 'none',
};
