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
/** Counting this many stored rows takes about a second. */
const recountedRowsMax = 2_000_000;

const Count = Type.Integer({ minimum: 0 });
const counts = {
  received: Type.Integer({ minimum: 0, description: 'Readings that ingest-ws accepted, or rejected for good' }),
  replayed: Type.Integer({ minimum: 0, description: 'Dead letters that were stored later' }),
  stored: Count,
  duplicate: Count,
  rejected: Count,
  deadLettered: Count,
  inFlight: Count,
  missing: Type.Integer({
    minimum: 0,
    description:
      'Readings that were received and are not accounted for. received + replayed + surplus = stored + duplicate + rejected + deadLettered + inFlight + missing',
  }),
  surplus: Type.Integer({
    minimum: 0,
    description:
      'Readings that are accounted for and were not reported as received. The surplus of one minute is not netted against the loss of another',
  }),
  nacked: Type.Integer({
    minimum: 0,
    description: 'Readings sent back, which the device sends again; not part of the equation',
  }),
  state: Type.Enum([...reconciliationStates]),
};

const Report = Type.Object(
  {
    covers: Type.Object({
      from: Time,
      to: Time,
      deviceId: Type.Union([Type.String(), Type.Null()]),
      recounted: Type.Boolean({ description: 'Stored rows were counted as well, so that deleted rows show' }),
    }),
    explanation: Type.String({ description: 'The result as a sentence' }),
    total: Type.Object(counts, { title: 'ReconciliationTotals' }),
    data: Type.Array(Type.Object({ minute: Time, ...counts }, { title: 'ReconciliationMinute' }), {
      description: 'By the minute in which ingest-ws received the readings; minutes without readings are left out',
    }),
    edges: Type.Array(
      Type.Object({
        instanceId: Type.String(),
        state: Type.Enum(['reporting', 'finished', 'silent'], {
          description: '`silent`: it has stopped reporting without a final report',
        }),
        lastReportedAt: Time,
        missingReports: Type.Array(Type.Object({ from: Count, to: Count }), {
          description: 'Numbers of reports, both ends included',
        }),
      }),
    ),
    unreadable: Type.Integer({
      minimum: 0,
      description: 'Unreadable dead letters of this time; how many readings they held is not known',
    }),
  },
  { title: 'ReconciliationReport' },
);

export const reconciliationRoutes = [
  route({
    method: 'get',
    path: '/ledger',
    operationId: 'getLedger',
    tag: 'Operations',
    summary: 'Reconciliation report: whether every reading received is accounted for',
    description:
      'By the minute in which ingest-ws received the readings. `settling` is no fault: readings, or the reports of them, are still in flight.',
    roles: ['operator', 'admin'],
    query: {
      from: Type.Optional(Instant('Start, rounded down to the minute; default: an hour ago')),
      to: Type.Optional(Instant('End, rounded up to the minute; default: now')),
      deviceId: Type.Optional(DeviceId),
    },
    success: { status: 200, description: 'The report, by minute and in total', schema: Report },
    handler: async ({ query, now }, { history, queues }) => {
      const { deviceId } = query;
      const range = parseRange({ from: query.from ?? 'now-1h', to: query.to ?? 'now' }, now);
      const fromMinute = minuteOf(range.from);
      const toMinute = minuteOf(range.to - 1) + 1;
      if (toMinute - fromMinute > minutesMax) {
        const detail = `spans ${toMinute - fromMinute} minutes; at most ${minutesMax} (7 days) are reported at a time`;
        throw badRequest('The time range is too long', [{ field: 'query.from', detail }]);
      }
      // Before the entries are read, so that every reading settled by then is among them.
      const settledBefore = await queues.read().then(
        (report) => report.settledBefore,
        () => 0,
      );
      const entries = await history.run(readReconciliationEntries, {
        fromMinute,
        toMinute,
        deviceId,
        recountedRowsMax,
      });
      const { total, minutes, edges, explanation } = reconcile(entries, { now, settledBefore, deviceId });
      return {
        covers: {
          from: isoTime(startOfMinute(fromMinute)),
          to: isoTime(startOfMinute(toMinute)),
          deviceId: deviceId ?? null,
          recounted: entries.isRecounted,
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
        unreadable: entries.unreadable,
      };
    },
  }),
];

function present(balance: Totals) {
  return { ...balance, nacked: Math.max(0, balance.nacked) };
}
