import { minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { badRequest } from '@fleetwire/runtime/problem';
import { readReconciliationEntries } from '@fleetwire/store/reconciliation';
import Type from 'typebox';
import { route } from '../route.ts';
import { Time } from '../schemas.ts';
import { Instant, isoTime, parseRange } from '../time-range.ts';
import { type Totals, reconcile, reconciliationStates } from './reconcile.ts';

const minutesMax = 7 * 24 * 60;
/** Counting the rows themselves takes about a second for so many. */
const recountedRowsMax = 2_000_000;

const Count = Type.Integer({ minimum: 0 });
const counts = {
  received: Type.Integer({ minimum: 0, description: 'Accepted at the edge, or rejected there for good' }),
  replayed: Type.Integer({ minimum: 0, description: 'Dead letters that were stored after all' }),
  stored: Count,
  duplicate: Count,
  rejected: Count,
  deadLettered: Count,
  inFlight: Count,
  difference: Type.Integer({
    description:
      'received + replayed = stored + duplicate + rejected + deadLettered + inFlight + difference. Positive: readings are missing',
  }),
  nacked: Type.Integer({ minimum: 0, description: 'Sent back to come again; not part of the equation' }),
  state: Type.Enum([...reconciliationStates]),
};

const Ledger = Type.Object(
  {
    covers: Type.Object({
      from: Time,
      to: Time,
      deviceId: Type.Union([Type.String(), Type.Null()]),
      recounted: Type.Boolean({ description: 'The rows themselves were counted, not only what writers noted' }),
    }),
    explanation: Type.String({ description: 'The verdict in words' }),
    total: Type.Object(counts, { title: 'Balance' }),
    data: Type.Array(Type.Object({ minute: Time, ...counts }, { title: 'MinuteBalance' }), {
      description: 'By the minute in which readings arrived at the edge; minutes without any are left out',
    }),
    edges: Type.Array(
      Type.Object({
        instanceId: Type.String(),
        state: Type.Enum(['reporting', 'finished', 'silent'], {
          description: '`silent`: it reports no more, and did not say that it was the last time',
        }),
        lastReportedAt: Time,
        missingReports: Type.Array(Type.Object({ from: Count, to: Count }), {
          description: 'Numbers, both ends included',
        }),
      }),
    ),
    unreadable: Type.Integer({ minimum: 0, description: 'Dead letters of this time that held nothing readable' }),
  },
  { title: 'Ledger' },
);

export const reconciliationRoutes = [
  route({
    method: 'get',
    path: '/ledger',
    operationId: 'getLedger',
    tag: 'Operations',
    summary: 'The books: whether everything that was received is accounted for',
    description:
      'By the minute in which readings arrived at the edge. `settling` is no fault: readings, or the reports of them, are still under way.',
    roles: ['operator', 'admin'],
    query: {
      from: Type.Optional(Instant('Start, widened to its minute; an hour ago without it')),
      to: Type.Optional(Instant('End, widened to its minute; now without it')),
      deviceId: Type.Optional(DeviceId),
    },
    success: { status: 200, description: 'The books, minute by minute and in total', schema: Ledger },
    handler: async ({ query, now }, { history, queues }) => {
      const { deviceId } = query;
      const range = parseRange({ from: query.from ?? 'now-1h', to: query.to ?? 'now' }, now);
      const fromMinute = minuteOf(range.from);
      const toMinute = minuteOf(range.to - 1) + 1;
      if (toMinute - fromMinute > minutesMax) {
        const detail = `gives ${toMinute - fromMinute} minutes; at most ${minutesMax}`;
        throw badRequest('The time range is too long', [{ field: 'query.from', detail }]);
      }
      // Before the books are read: what was settled then is in them.
      const settledBefore = await queues.read().then(
        (report) => report.settledBefore,
        () => 0,
      );
      const books = await history.run(readReconciliationEntries, { fromMinute, toMinute, deviceId, recountedRowsMax });
      const { total, minutes, edges, explanation } = reconcile(books, { now, settledBefore, deviceId });
      return {
        covers: {
          from: isoTime(startOfMinute(fromMinute)),
          to: isoTime(startOfMinute(toMinute)),
          deviceId: deviceId ?? null,
          recounted: books.isRecounted,
        },
        explanation,
        total: present(total),
        data: minutes.map(({ minute, ...balance }) => ({
          minute: isoTime(startOfMinute(minute)),
          ...present(balance),
        })),
        edges: edges.map(({ instanceId, state, lastReportedAt, missingReports }) => ({
          instanceId,
          state,
          lastReportedAt: isoTime(lastReportedAt),
          missingReports: [...missingReports],
        })),
        unreadable: books.unreadable,
      };
    },
  }),
];

function present(balance: Totals) {
  return { ...balance, nacked: Math.max(0, balance.nacked) };
}
