import { badRequest } from '@fleetwire/runtime/problem';
import { readAlarms } from '@fleetwire/store/alarms';
import { queueSampleMs, readQueueHistory } from '@fleetwire/store/queue-samples';
import Type from 'typebox';
import { route } from '../route.ts';
import { Count, Time, orNull } from '../schemas.ts';
import { Instant, isoTime, parseRange } from '../time-range.ts';
import { alarmRules, alarmsIn } from './alarm-rules.ts';

const Point = Type.Object(
  {
    at: Time,
    ready: Type.Integer({ minimum: 0, description: 'The most in the interval' }),
    unacked: orNull(Count, 'The most in the interval; null while only AMQP answered'),
    readingsEstimate: orNull(Count, 'The most in the interval; null where unknown'),
    in: orNull(Type.Number(), 'Messages per second, the mean of the interval'),
    out: orNull(Type.Number(), 'Messages per second, the mean of the interval'),
    oldestSeconds: orNull(Type.Number({ minimum: 0 }), 'The largest age of the oldest message in the interval'),
  },
  { title: 'QueuePoint' },
);

const Alarm = Type.Object(
  {
    name: Type.String({ description: 'The alert of the same name in deploy/prometheus' }),
    severity: Type.Enum(['warning', 'critical']),
    state: Type.Enum(['pending', 'firing', 'ended'], {
      description: '`pending`: the condition has not held for long enough yet',
    }),
    subject: Type.String({ description: 'The queue or circuit that it is about; empty where it is about all' }),
    summary: Type.String(),
    action: Type.String({ description: 'What to do' }),
    since: orNull(Time, 'When the condition was first seen, to 15 s; null where it was not written yet'),
    until: orNull(Time, 'When it was last gone; null while it holds'),
  },
  { title: 'Alarm' },
);

const recentMs = 24 * 3_600_000;
const alarmsMax = 200;

export const historyRoutes = [
  route({
    method: 'get',
    path: '/queues/history',
    operationId: 'queueHistory',
    tag: 'Operations',
    summary: 'Depth, rates and age of each queue over the last day',
    description:
      'Sampled every 15 s and kept for 25 h. Intervals without a sample, as while Postgres was away, are left out.',
    roles: ['operator', 'admin'],
    query: {
      from: Type.Optional(Instant('Start of the range, included; an hour ago if left out')),
      to: Type.Optional(Instant('End of the range, excluded; now if left out')),
      maxPoints: Type.Integer({ minimum: 1, maximum: 6_000, default: 240, description: 'Points of one queue at most' }),
    },
    success: {
      status: 200,
      description: 'Points of each queue, oldest first',
      schema: Type.Object(
        {
          from: Time,
          to: Time,
          intervalSeconds: Type.Number({ description: 'Of one point; a multiple of 15 s' }),
          data: Type.Array(Type.Object({ name: Type.String(), points: Type.Array(Point) })),
        },
        { title: 'QueueHistory' },
      ),
    },
    handler: async ({ query: { from: begin = 'now-1h', to: end = 'now', maxPoints }, now }, { scans }) => {
      const { from, to } = parseRange({ from: begin, to: end }, now);
      if (to - from > 8 * recentMs)
        throw badRequest('The range is not valid', [
          { field: 'query.from', detail: 'is more than 8 days before to; samples are kept for 25 h' },
        ]);
      const intervalMs = Math.max(1, Math.ceil((to - from) / maxPoints / queueSampleMs)) * queueSampleMs;
      const rows = await scans.run(readQueueHistory, { from, to, intervalMs });
      const data = [...Map.groupBy(rows, ({ queue }) => queue)].map(([name, points]) => ({
        name,
        points: points.map(({ at, ready, unacked, readings, inRate, outRate, oldestSeconds }) => ({
          at: isoTime(at),
          ready,
          unacked,
          readingsEstimate: readings,
          in: inRate,
          out: outRate,
          oldestSeconds,
        })),
      }));
      return { from: isoTime(from), to: isoTime(to), intervalSeconds: intervalMs / 1_000, data };
    },
  }),
  route({
    method: 'get',
    path: '/alarms',
    operationId: 'listAlarms',
    tag: 'Operations',
    summary: 'What needs an operator now, and what did in the last 24 h',
    description:
      `What query-api itself can see: ${Object.keys(alarmRules).join(', ')}, with the severity and the action of the alert of the same name. ` +
      'The other alerts of deploy/prometheus need metrics of other services or rates: they are not covered. While Postgres is away, present alarms are told as well, since when this instance has seen them.',
    roles: ['operator', 'admin'],
    success: {
      status: 200,
      description: 'Present ones first, then those that ended, the newest first',
      schema: Type.Object(
        {
          data: Type.Array(Alarm),
          complete: Type.Boolean({ description: 'false: those that ended cannot be read now' }),
        },
        { title: 'Alarms' },
      ),
    },
    handler: async ({ now }, { queues, circuits, scans, presentAlarms }) => {
      const [report, stored] = await Promise.all([
        queues.read().catch(() => undefined),
        scans.run(readAlarms, { since: now - recentMs, limit: alarmsMax }).catch(() => undefined),
      ]);
      const found = presentAlarms.of(alarmsIn({ queues: report, circuits }), stored, now);
      const present = found.map(({ name, subject, summary, state, since }) => {
        const { severity, action } = alarmRules[name]!;
        const times = { since: since === undefined ? null : isoTime(since), until: null };
        return { name, severity, state, subject, summary, action, ...times };
      });
      const ended = (stored ?? [])
        .filter(({ endedAt }) => endedAt !== null)
        .flatMap(({ name, subject, summary, startedAt, endedAt }) => {
          const rule = alarmRules[name];
          // Shorter than the rule demands: it never fired.
          if (rule === undefined || endedAt! - startedAt < rule.forSeconds * 1_000) return [];
          const { severity, action } = rule;
          const times = { since: isoTime(startedAt), until: isoTime(endedAt!) };
          return { name, severity, state: 'ended' as const, subject, summary, action, ...times };
        });
      return { data: [...present, ...ended], complete: stored !== undefined };
    },
  }),
];
