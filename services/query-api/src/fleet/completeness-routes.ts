import {
  type DeviceCompleteness,
  gapIntervals,
  intervalsSampledMax,
  readCompletenessOfDevices,
  timeGapsListedMax,
} from '@fleetwire/store/fleet/completeness';
import { silentMsMin } from '@fleetwire/store/presence/write-sending';
import Type from 'typebox';
import { route } from '../route.ts';
import { completenessOf, planAndRead } from '../series/ask.ts';
import type { Bucket } from '../series/buckets.ts';
import {
  intervalParameter,
  rangeParameters,
  selectionParameters,
  SeriesCost,
  SeriesCovers,
} from '../series/schemas.ts';
import { Count, Time, orNull, questionFreshness } from '../schemas.ts';
import { isoTime } from '../time-range.ts';
import { fleetQuestion, fleetRoles } from './fleet-question.ts';

const Share = Type.Union([Type.Number({ minimum: 0 }), Type.Null()]);

const DeviceInTime = Type.Object(
  {
    deviceId: Type.String(),
    expectedIntervalMs: Type.Union([Type.Number(), Type.Null()], {
      description: 'Between two readings; null where none is registered and too few readings are there to estimate it',
    }),
    estimated: Type.Boolean({
      description: `The interval is not registered: it is the median of the last ${intervalsSampledMax} before \`to\``,
    }),
    expected: Type.Union([Type.Number({ minimum: 0 }), Type.Null()], {
      description: 'Readings in the range, up to now, at this interval',
    }),
    stored: Count,
    share: Share,
    lastTs: orNull(
      Time,
      'Device time of the newest reading before the end of the range, or now; null where there is none',
    ),
    silentMs: orNull(
      Type.Integer({ minimum: 0 }),
      'From `lastTs` to the end of the range, now or `completeUntil`, whichever is first',
    ),
    silent: orNull(
      Type.Boolean(),
      `That is longer than ${gapIntervals} intervals and ${silentMsMin / 1_000} s; null where no interval is known, or nothing was ever sent`,
    ),
    sequenceMissing: Type.Integer({
      minimum: 0,
      description:
        'Sequence numbers between the first and the last reading of each boot in the range that are not stored',
    }),
    timeGaps: Type.Array(Type.Object({ from: Time, to: Time }), {
      description: `Times without a reading for more than ${gapIntervals} intervals; the first ${timeGapsListedMax}`,
    }),
    timeGapCount: Count,
    deadLetters: Type.Integer({ minimum: 0, description: 'Dead letters that arrived in the range' }),
    storedIn: Type.Optional(Type.Array(Count, { description: 'With `interval`: in each bucket' })),
    shareIn: Type.Optional(Type.Array(Share, { description: 'With `interval`: in each bucket' })),
  },
  { title: 'DeviceInTime' },
);

export const completenessRoutes = [
  route({
    method: 'get',
    path: '/completeness',
    operationId: 'getCompleteness',
    tag: 'Fleet',
    question: true,
    conditional: true,
    summary: 'Expected against stored readings of each device, gaps in its sequence and in time, and silence',
    description:
      'Of all devices that are selected (without a selection: all), by id. With `interval` also for each bucket of time.',
    roles: fleetRoles,
    query: {
      ...selectionParameters,
      ...rangeParameters,
      interval: intervalParameter,
      silent: Type.Optional(
        Type.Boolean({ description: '`true`: only devices that are silent, `false`: only those that are not' }),
      ),
    },
    success: {
      status: 200,
      description: 'An element for each device',
      schema: Type.Object(
        {
          interval: Type.Union([Type.String(), Type.Null()]),
          tz: Type.String(),
          t: Type.Optional(Type.Array(Type.Integer(), { description: 'Where each bucket begins, epoch milliseconds' })),
          data: Type.Array(DeviceInTime),
          covers: Type.Pick(SeriesCovers, ['from', 'to', 'completeUntil', 'completeWhy', 'devices']),
          cost: SeriesCost,
          ...questionFreshness,
        },
        { title: 'CompletenessAnswer' },
      ),
      example: {
        interval: null,
        tz: 'UTC',
        data: [
          {
            deviceId: 'press-7',
            expectedIntervalMs: 60000,
            estimated: false,
            expected: 1440,
            stored: 1412,
            share: 0.9806,
            lastTs: '2026-11-20T23:59:00.000Z',
            silentMs: 60000,
            silent: false,
            sequenceMissing: 3,
            timeGaps: [{ from: '2026-11-20T04:10:00.000Z', to: '2026-11-20T04:35:00.000Z' }],
            timeGapCount: 1,
            deadLetters: 0,
          },
        ],
        covers: {
          from: '2026-11-20T00:00:00.000Z',
          to: '2026-11-21T00:00:00.000Z',
          completeUntil: '2026-11-21T16:00:03.120Z',
          devices: 1,
        },
        cost: { units: 1663, limit: 2000000, ms: 6.1 },
      },
    },
    problems: [404, 422],
    handler: async ({ query: { silent, ...query }, caller, ...call }, api) => {
      const startedAt = performance.now();
      // Readings count, whatever is in them: the metric only stands for them.
      const { question, asked } = fleetQuestion({ ...query, metric: ['readings'], agg: ['distinct'] }, call.now, {
        path: '/completeness',
        changed: { silent, agg: undefined, metrics: undefined, metric: undefined, groupBy: undefined },
      });
      const limits = api.seriesLimits(caller.role);
      const to = Math.max(question.range.from, Math.min(question.range.to, call.now));
      const { plan, found } = await planAndRead(question, { ...call, asked, limits }, api, {
        isHeavy: true,
        read: ({ database, client, plan: { devices, buckets } }) =>
          readCompletenessOfDevices(database, client, {
            deviceKeys: devices.map(({ deviceKey }) => deviceKey),
            starts: buckets.map((bucket) => bucket.from),
            to: question.range.to,
            until: to,
          }),
      });
      const { devices, buckets, completeness } = plan;
      // A device whose readings are queued is not silent.
      const until = Math.min(to, completeness.completeUntil ?? to);
      const byKey = new Map(found.map((one) => [one.deviceKey, one]));
      return {
        interval: question.interval?.text ?? null,
        tz: question.timeZone,
        ...(question.interval && { t: buckets.map(({ start }) => start) }),
        data: devices.flatMap(({ deviceKey, deviceId }) => {
          const one = byKey.get(deviceKey);
          if (one === undefined) return [];
          const silence = silenceOf(one, until);
          if (silent !== undefined && silence.silent !== silent) return [];
          return [
            {
              deviceId,
              ...inTime(one, question.range.from, to),
              ...silence,
              ...(question.interval && inBuckets(one, buckets, to)),
            },
          ];
        }),
        covers: {
          from: isoTime(question.range.from),
          to: isoTime(question.range.to),
          ...completenessOf(completeness),
          devices: devices.length,
        },
        cost: {
          units: plan.cost.units,
          limit: plan.cost.limit,
          ms: Math.round((performance.now() - startedAt) * 10) / 10,
        },
      };
    },
  }),
];

function inTime(one: DeviceCompleteness, from: number, to: number) {
  const { intervalMs, isEstimated, stored, sequenceMissing, timeGaps, timeGapCount, deadLetters } = one;
  const expected = intervalMs === null ? null : (to - from) / intervalMs;
  return {
    expectedIntervalMs: intervalMs,
    estimated: isEstimated,
    expected: expected === null ? null : Math.round(expected),
    stored,
    share: shareOf(stored, expected),
    sequenceMissing,
    timeGaps: timeGaps.map((gap) => ({ from: isoTime(gap.from), to: isoTime(gap.to) })),
    timeGapCount,
    deadLetters,
  };
}

function silenceOf({ lastTs, intervalMs }: DeviceCompleteness, until: number) {
  const silentMs = lastTs === null ? null : Math.max(0, until - lastTs);
  const isKnown = silentMs !== null && intervalMs !== null;
  return {
    lastTs: lastTs === null ? null : isoTime(lastTs),
    silentMs,
    silent: isKnown ? silentMs > Math.max(gapIntervals * intervalMs, silentMsMin) : null,
  };
}

function inBuckets({ counts, intervalMs }: DeviceCompleteness, buckets: readonly Bucket[], to: number) {
  const stored = new Map(counts.map(({ bucket, count }) => [bucket, count]));
  const storedIn = buckets.map((_, index) => stored.get(index) ?? 0);
  return {
    storedIn,
    shareIn: buckets.map((bucket, index) =>
      shareOf(
        storedIn[index]!,
        intervalMs === null ? null : Math.max(0, Math.min(bucket.to, to) - bucket.from) / intervalMs,
      ),
    ),
  };
}

/** Of what was expected; null where nothing was. */
function shareOf(stored: number, expected: number | null): number | null {
  return expected === null || expected === 0 ? null : Math.round((stored / expected) * 10_000) / 10_000;
}
