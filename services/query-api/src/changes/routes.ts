import { limits } from '@fleetwire/contracts/limits';
import { Problem, unavailable } from '@fleetwire/runtime/problem';
import { ChangesLostError } from '@fleetwire/store/changes/changes-store';
import {
  beginChanges,
  changesAfter,
  type ChangesFilter,
  type ChangesPosition,
} from '@fleetwire/store/changes/read-changes';
import { ReadReplicaError } from '@fleetwire/store/commit-order';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { route } from '../route.ts';
import { PageOf, Reading } from '../schemas.ts';
import { fleetParameters } from '../series/schemas.ts';
import { Instant, isoTime, readInstant } from '../time-range.ts';

const Snapshot = Type.String({ pattern: '^\\d{1,20}:\\d{1,20}:(\\d{1,20}(,\\d{1,20})*)?$' });
const done = {
  done: Snapshot,
  at: positionFields.instant,
  completeUntil: Type.Union([positionFields.instant, Type.Null()]),
  seen: Type.Optional(Type.Object({ xid: positionFields.number, settledAt: Type.String({ maxLength: 40 }) })),
};
const after = Type.Object({
  xid: positionFields.number,
  streamKey: Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1 }),
  seq: Type.Integer({ minimum: -1, maximum: Number.MAX_SAFE_INTEGER }),
});
const cursors = cursorCodec(
  Type.Object({ ...done, store: Type.String({ maxLength: 64 }), pass: Type.Optional(Type.Object({ ...done, after })) }),
);

/** A page ends after this time although it is not full. */
const pageMsMax = 2_000;
/**
 * A transaction that was in progress when a cursor was made may have begun this much earlier: `since` of the call that begins again. What was
 * read before comes again.
 */
const transactionMsMax = 15 * 60_000;

const { devices, pattern, tag, type } = fleetParameters;

export const changesRoutes = [
  route({
    method: 'get',
    path: '/changes',
    operationId: 'listChanges',
    tag: 'History',
    summary: 'Readings in the order in which they were stored, each once: what is new since your last fetch',
    description:
      'Without `cursor`, no readings, and a cursor for those that are stored from now on; with `since`, from the transactions on that began then. `page.next` is never null: ' +
      'keep it, and use it to fetch what came since. `covers.complete: true` means that nothing more was stored when this page was read. Late readings are among them, and ' +
      'transactions that were open for long hold nothing back. 410 after the database was restored or failed over, or a month later: `restart` names where to begin again. docs/changes.md',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      devices,
      pattern,
      tag,
      type,
      metrics: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax }), {
          minItems: 1,
          maxItems: 50,
          description: 'Only these metrics, separated by commas; readings without any of them are left out',
        }),
      ),
      since: Type.Optional(Instant('Where to begin without a cursor, by the time of storing; not used with a cursor')),
      limit: Type.Integer({ minimum: 1, maximum: 5_000, default: 500, description: 'Readings in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: {
      status: 200,
      description: 'One page of readings',
      schema: PageOf(
        Type.Object(
          { deviceId: Type.String({ description: 'Device id' }), ...Reading.properties },
          { title: 'Change' },
        ),
        {
          completeUntil: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
            description:
              'Every acknowledged reading that arrived before this time is on this page or an earlier one, or is a dead letter; null: not known',
          }),
        },
        {},
      ),
    },
    problems: [410],
    handler: async ({ query, now, pageBytes }, { scans, changes: report }) => {
      const { limit, cursor, since, ...filter } = query;
      const scope = { list: 'changes', ...filter };
      const known = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const from = since === undefined || known !== undefined ? undefined : readInstant(since, now, 'query.since');
      try {
        if (known === undefined && from === undefined)
          return answer(scope, [], await scans.run(beginChanges, {}), true);
        const position = known ?? (await scans.run(beginChanges, { since: from }));
        const page = await scans.run(changesAfter, { position, filter, limit, msMax: pageMsMax, ...pageBytes });
        report.delivered(page.changes.length);
        const data = page.changes.map(({ ts, receivedAt, ...change }) => ({
          ...change,
          ts: isoTime(ts),
          receivedAt: isoTime(receivedAt),
        }));
        return answer(scope, data, page.position, page.isComplete);
      } catch (error) {
        if (error instanceof ReadReplicaError)
          throw unavailable('This instance reads a standby; ask one that reads the primary', 10_000);
        if (!(error instanceof ChangesLostError)) throw error;
        report.refused(error.reason);
        throw expired(error, known, filter);
      }
    },
  }),
];

function answer<T>(scope: object, data: T[], position: ChangesPosition, complete: boolean) {
  const { completeUntil } = position;
  return {
    data,
    covers: { count: data.length, complete, completeUntil: completeUntil === null ? null : isoTime(completeUntil) },
    page: { next: cursors.encode(scope, position) },
  };
}

/** After a fail-over the database is the same, and what was stored since a time is known; after all else a copy of everything is needed. */
function expired(
  { reason, isSameSystem }: ChangesLostError,
  known: ChangesPosition | undefined,
  filter: ChangesFilter,
): Problem {
  const parameters = new URLSearchParams();
  if (known !== undefined && reason === 'store-replaced' && isSameSystem)
    parameters.set('since', isoTime(Math.max(0, known.at - transactionMsMax)));
  const isKnown = parameters.size > 0;
  for (const [name, value] of Object.entries(filter))
    if (value !== undefined) parameters.set(name, [value].flat().join(','));
  const cause =
    reason === 'too-old'
      ? 'The transactions that follow are not kept any more'
      : 'The database was restored or failed over since';
  const way = isKnown
    ? 'begin again at `restart`, and drop the readings that you have by (deviceId, epoch, seq)'
    : 'begin again without a cursor, then read everything once more (docs/changes.md), and drop the readings that you have by (deviceId, epoch, seq)';
  const query = parameters.size === 0 ? '' : `?${parameters}`;
  return new Problem(410, 'Cursor expired', {
    detail: `${cause}; ${way}`,
    extensions: { reason, restart: `/api/v1/changes${query}` },
  });
}
