import { minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { badRequest } from '@fleetwire/runtime/problem';
import { readReconciliationEntries } from '@fleetwire/store/reconciliation';
import Type from 'typebox';
import { type ApiContext, route } from '../route.ts';
import { Count, Time } from '../schemas.ts';
import { type Acknowledgement, insertAcknowledgement } from '@fleetwire/store/reconciliation-acknowledgements';
import { Instant, isoTime, parseRange, readInstant, requireRange, type TimeRange } from '../time-range.ts';
import { type Totals, reconcile, reconciliationStates } from './reconcile.ts';

const minutesMax = 7 * 24 * 60;
/** Counting this many stored rows takes about a second. */
const recountedRowsMax = 2_000_000;

const counts = {
  received: Type.Integer({ minimum: 0, description: 'Readings that ingest-ws accepted or rejected' }),
  replayed: Type.Integer({ minimum: 0, description: 'Dead letters that were stored later' }),
  stored: Count,
  duplicate: Count,
  conflicting: Type.Integer({
    minimum: 0,
    description:
      'The part of `duplicate` whose content was found to differ from the stored reading of the same device, epoch and seq; these readings were acknowledged and not stored. `GET /devices/{id}/gaps` names the newest',
  }),
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
  acknowledged: Type.Object(
    { missing: Count, surplus: Count },
    { description: 'The parts of `missing` and `surplus` that an operator has acknowledged; 0 with `deviceId`' },
  ),
  nacked: Type.Integer({
    minimum: 0,
    description: 'Readings sent back, which the device sends again; not part of the equation',
  }),
  state: Type.Enum([...reconciliationStates]),
};

const acknowledgementFields = {
  id: Type.Integer({ minimum: 1 }),
  from: Time,
  to: Time,
  reason: Type.String(),
  acknowledgedBy: Type.String({ description: "Subject of the operator's token" }),
  acknowledgedAt: Time,
  missing: Type.Integer({ minimum: 0, description: 'Missing readings that were acknowledged' }),
  surplus: Type.Integer({ minimum: 0, description: 'Surplus readings that were acknowledged' }),
};
const AcknowledgementResult = Type.Object(acknowledgementFields, { title: 'ReconciliationAcknowledgement' });

const AcknowledgementRequest = Type.Object(
  {
    from: Instant('Start, rounded down to the minute'),
    to: Instant('End, rounded up to the minute; not in the future'),
    reason: Type.String({
      minLength: 1,
      maxLength: 1_000,
      description: 'What happened; kept with the acknowledgement',
    }),
  },
  { title: 'ReconciliationAcknowledgementRequest', additionalProperties: false },
);

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
        acknowledged: Type.Boolean({ description: 'An operator has acknowledged the time of its last report' }),
        missingReports: Type.Array(Type.Object({ from: Count, to: Count }), {
          description: 'Numbers of reports, both ends included',
        }),
      }),
    ),
    acknowledgements: Type.Array(AcknowledgementResult, { description: 'Of this time, newest first' }),
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
    handler: async ({ query, now }, { scans, queues }) => {
      const { deviceId } = query;
      const range = parseRange({ from: query.from ?? 'now-1h', to: query.to ?? 'now' }, now);
      const { fromMinute, toMinute } = minutesOf(range, 'query');
      const { entries, report } = await readReport({ scans, queues }, { fromMinute, toMinute, deviceId, now });
      const { total, minutes, edges, explanation } = report;
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
        edges: edges.map(({ instanceId, state, lastReportedAt, missingReports, isAcknowledged }) => ({
          instanceId,
          state,
          acknowledged: isAcknowledged,
          lastReportedAt: isoTime(lastReportedAt),
          missingReports: [...missingReports],
        })),
        acknowledgements: entries.acknowledgements.map(presentAcknowledgement),
        unreadable: entries.unreadable,
      };
    },
  }),
  route({
    method: 'post',
    path: '/ledger/acknowledgements',
    operationId: 'acknowledgeLedger',
    tag: 'Operations',
    summary: 'Acknowledge what the reconciliation report found in a past time, so that it raises no alarm any more',
    description:
      'For a known cause, such as an ingest-ws that was killed. The report and its states do not change: it shows what was acknowledged, by whom and why. ' +
      'Readings that turn out to be missing later, also in the same minutes, raise the alarm again.',
    roles: ['operator', 'admin'],
    body: AcknowledgementRequest,
    success: { status: 201, description: 'The acknowledgement', schema: AcknowledgementResult },
    handler: async ({ body, caller, now }, { scans, acknowledging, queues }) => {
      const range = pastRange(body, now);
      const { fromMinute, toMinute } = minutesOf(range, 'body');
      const { report } = await readReport({ scans, queues }, { fromMinute, toMinute, deviceId: undefined, now });
      const acknowledgement = await acknowledging.run(insertAcknowledgement, {
        ...range,
        reason: body.reason,
        acknowledgedBy: caller.sub,
        minutes: report.minutes
          .filter(({ missing, surplus }) => missing + surplus > 0)
          .map(({ minute, missing, surplus }) => ({ minute, missing, surplus })),
      });
      return presentAcknowledgement(acknowledgement);
    },
  }),
];

interface ReportQuery {
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly deviceId: string | undefined;
  readonly now: number;
}

async function readReport({ scans, queues }: Pick<ApiContext, 'scans' | 'queues'>, { now, ...query }: ReportQuery) {
  // Before the entries are read, so that every reading settled by then is among them.
  const settledBefore = await queues.read().then(
    (sampled) => sampled.settledBefore,
    () => 0,
  );
  const entries = await scans.run(readReconciliationEntries, { ...query, recountedRowsMax });
  return { entries, report: reconcile(entries, { now, settledBefore, deviceId: query.deviceId }) };
}

/** @param where `query` or `body`: the field that a problem names; @throws {Problem} 400 when the range is too long */
function minutesOf({ from, to }: TimeRange, where: string): { fromMinute: number; toMinute: number } {
  const fromMinute = minuteOf(from);
  const toMinute = minuteOf(to - 1) + 1;
  if (toMinute - fromMinute > minutesMax) {
    const detail = `spans ${toMinute - fromMinute} minutes; at most ${minutesMax} (7 days) are reported at a time`;
    throw badRequest('The time range is too long', [{ field: `${where}.from`, detail }]);
  }
  return { fromMinute, toMinute };
}

/** @throws {Problem} 400 when it is not a range, or ends in the future: what has not happened cannot be acknowledged */
function pastRange(body: { readonly from: string; readonly to: string }, now: number): TimeRange {
  const [from, to] = [readInstant(body.from, now, 'body.from'), readInstant(body.to, now, 'body.to')];
  requireRange({ from, to }, 'body');
  if (to > now) {
    const detail = `is ${isoTime(to)}, which is in the future; give a time up to now`;
    throw badRequest('Only the past can be acknowledged', [{ field: 'body.to', detail }]);
  }
  return { from, to };
}

function presentAcknowledgement({ minutes, ...acknowledgement }: Acknowledgement) {
  return {
    ...acknowledgement,
    from: isoTime(acknowledgement.from),
    to: isoTime(acknowledgement.to),
    acknowledgedAt: isoTime(acknowledgement.acknowledgedAt),
    missing: minutes.reduce((sum, { missing }) => sum + missing, 0),
    surplus: minutes.reduce((sum, { surplus }) => sum + surplus, 0),
  };
}

function present({ acknowledgedMissing, acknowledgedSurplus, ...totals }: Totals) {
  return {
    ...totals,
    acknowledged: { missing: acknowledgedMissing, surplus: acknowledgedSurplus },
    nacked: Math.max(0, totals.nacked),
  };
}
