import { type EdgeCounts, type EdgeReport, minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import { sql } from 'kysely';
import type pg from 'pg';
import { int8Array } from './binary-arrays.ts';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';
import { type Acknowledgement, readAcknowledgements } from './reconciliation-acknowledgements.ts';

/**
 * What ingest instances and workers have entered for one minute, not compared yet. The minute of a reading is that in which ingest-ws
 * received it.
 */
export interface MinuteEntries extends EdgeCounts {
  readonly minute: number;
  /** New readings stored, without replays. */
  readonly stored: number;
  /** Dead letters stored by a replay. */
  readonly replayed: number;
  readonly duplicates: number;
  /** Readings that a repeated attempt at a message found stored, perhaps by the attempt before; not in `duplicates`. */
  readonly repeats: number;
  /** Those of `duplicates` and `repeats` that were found to have another content than the stored reading. */
  readonly conflicting: number;
  readonly dead: number;
  /** Stored, and dropped with their partition since. */
  readonly dropped: number;
  /** Rows in the table now; null where they were not counted. */
  readonly rows: number | null;
}

/** An ingest instance, from its reports. Times are epoch milliseconds by its own clock. */
export interface Edge {
  readonly instanceId: string;
  readonly firstReportedAt: number;
  readonly lastReportedAt: number;
  /** It has sent its final report. */
  readonly isFinished: boolean;
  /** Numbers of reports that never arrived, as ranges with both ends. */
  readonly missingReports: readonly { readonly from: number; readonly to: number }[];
}

export interface ReconciliationEntries {
  /** Minutes that have entries. */
  readonly minutes: readonly MinuteEntries[];
  /** Instances that may have received readings in this time. */
  readonly edges: readonly Edge[];
  /** Unreadable dead letters of this time; the number and the minute of the readings in them are not known. */
  readonly unreadable: number;
  /** Readings of devices that reports count together, because a report names a limited number of devices. */
  readonly acceptedOfOthers: number;
  /** What operators have acknowledged in this time; the numbers are those of all devices. */
  readonly acknowledgements: readonly Acknowledgement[];
  /** Whether stored rows were counted, too. */
  readonly isRecounted: boolean;
}

export interface ReconciliationQuery {
  /** Half-open. */
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly deviceId?: string | undefined;
  /** Stored rows are counted only if at most this many are expected; for one device always. */
  readonly recountedRowsMax: number;
  readonly signal?: AbortSignal | undefined;
}

/** The longest interval between reports: an instance may have received readings for this long after its last report. */
const reportIntervalMaxMs = 60_000;

/**
 * Records a report of an ingest instance; a report that is delivered again changes nothing.
 * @returns whether it was new
 */
export async function recordEdgeReport(pool: pg.Pool, report: EdgeReport): Promise<boolean> {
  const { instanceId, sequence, occurredAt, isLast, entries } = report;
  // All writers must lock rows in the same order.
  const sorted = entries.map((entry) => ({ deviceId: '', ...entry }));
  sorted.sort((a, b) => a.minute - b.minute || (a.deviceId < b.deviceId ? -1 : 1));
  const counts = (name: keyof EdgeCounts) => int8Array(sorted.map((entry) => entry[name]));
  const { rows } = await pool.query(
    `with report as (
       insert into books_edges as known (instance_id, reports, first_reported_at, last_reported_at, is_finished)
       values ($1, int8multirange(int8range($2::int8, $2::int8, '[]')), $3, $3, $4)
       on conflict (instance_id) do update set
         reports = known.reports + excluded.reports,
         first_reported_at = least(known.first_reported_at, excluded.first_reported_at),
         last_reported_at = greatest(known.last_reported_at, excluded.last_reported_at),
         is_finished = known.is_finished or excluded.is_finished
       where not known.reports @> $2::int8
       returning instance_id
     ), entered as (
       insert into books_accepted as known (minute, device_id, accepted, rejected, nacked, unconfirmed)
       select e.* from report cross join unnest($5::int4[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[])
         as e (minute, device_id, accepted, rejected, nacked, unconfirmed)
       on conflict (minute, device_id) do update set
         accepted = known.accepted + excluded.accepted,
         rejected = known.rejected + excluded.rejected,
         nacked = known.nacked + excluded.nacked,
         unconfirmed = known.unconfirmed + excluded.unconfirmed
     )
     select from report`,
    [
      instanceId,
      sequence,
      new Date(occurredAt).toISOString(),
      isLast,
      sorted.map(({ minute }) => minute),
      sorted.map(({ deviceId }) => deviceId),
      counts('accepted'),
      counts('rejected'),
      counts('nacked'),
      counts('unconfirmed'),
    ],
  );
  return rows.length > 0;
}

/** The entries of a range of minutes, for all devices or for one. */
export async function readReconciliationEntries(
  database: Database,
  query: ReconciliationQuery,
): Promise<ReconciliationEntries> {
  const [entered, edges, unreadable, acknowledgements] = await Promise.all([
    query.deviceId === undefined ? entriesOfAll(database, query) : entriesOfDevice(database, query, query.deviceId),
    edgesOf(database, query),
    countUnreadable(database, query),
    readAcknowledgements(database, query),
  ]);
  const expected = entered.reduce((sum, { stored, replayed }) => sum + stored + replayed, 0);
  const acceptedOfOthers = query.deviceId === undefined ? 0 : await countAcceptedOfOthers(database, query);
  if (query.deviceId === undefined && expected > query.recountedRowsMax)
    return {
      minutes: entered.map((one) => ({ ...one, rows: null })),
      edges,
      unreadable,
      acceptedOfOthers,
      acknowledgements,
      isRecounted: false,
    };

  const rows = await rowsByMinute(database, query);
  const known = new Map(entered.map((one) => [one.minute, one]));
  const minutes = [...new Set([...known.keys(), ...rows.keys()])].sort((a, b) => a - b);
  const merged = minutes.map((minute): MinuteEntries => {
    const one = known.get(minute) ?? { ...nothing, minute };
    const there = rows.get(minute) ?? 0;
    // Stored readings are not counted by device: for one device, its rows are counted instead.
    const stored = query.deviceId === undefined ? one.stored : Math.max(0, there - one.replayed);
    return { ...one, stored, rows: there };
  });
  return { minutes: merged, edges, unreadable, acceptedOfOthers, acknowledgements, isRecounted: true };
}

type Entered = Omit<MinuteEntries, 'rows'>;

const nothing = {
  accepted: 0,
  rejected: 0,
  nacked: 0,
  unconfirmed: 0,
  stored: 0,
  replayed: 0,
  duplicates: 0,
  repeats: 0,
  conflicting: 0,
  dead: 0,
  dropped: 0,
};

function entriesOfAll(
  { db, pool }: Database,
  { fromMinute, toMinute, signal }: ReconciliationQuery,
): Promise<Entered[]> {
  const within = sql`minute >= ${fromMinute}::int4 and minute < ${toMinute}::int4`;
  const query = sql<Entered>`
    select minute, ${sums}
    from (
      select minute, accepted, rejected, nacked, unconfirmed, 0 as stored, 0 as replayed, 0 as duplicates, 0 as repeats, 0 as conflicting, 0 as dead, 0 as dropped
        from books_accepted where ${within}
      union all select minute, 0, 0, 0, 0, stored, replayed, 0, 0, 0, 0, 0 from books_stored where ${within}
      union all select minute, 0, 0, 0, 0, 0, 0, duplicates, repeats, conflicting, 0, 0 from books_duplicates where ${within}
      union all select minute, 0, 0, 0, 0, 0, 0, 0, 0, 0, dead, 0 from books_dead where ${within}
      union all select minute, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, readings from books_forgotten where ${within}
    ) as entries
    group by minute order by minute`;
  return fetchRows(pool, query.compile(db), signal);
}

function entriesOfDevice(
  { db, pool }: Database,
  { fromMinute, toMinute, signal }: ReconciliationQuery,
  deviceId: string,
): Promise<Entered[]> {
  const within = sql`minute >= ${fromMinute}::int4 and minute < ${toMinute}::int4`;
  const query = sql<Entered>`
    select minute, ${sums}
    from (
      select minute, accepted, rejected, nacked, unconfirmed, 0 as stored, 0 as replayed, 0 as duplicates, 0 as repeats, 0 as conflicting, 0 as dead, 0 as dropped
        from books_accepted where ${within} and device_id = ${deviceId}
      union all select minute, 0, 0, 0, 0, 0, 0, duplicates, repeats, conflicting, 0, 0 from books_duplicates
        where ${within} and device_key = (select device_key from devices where device_id = ${deviceId})
      union all select minute, 0, 0, 0, 0, 0, 0, 0, 0, 0, dead, 0 from books_dead where ${within} and device_id = ${deviceId}
      union all select (extract(epoch from received_at) / 60)::int4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 from dead_letters
        where device_id = ${deviceId} and status = 'stored' and received_at >= ${instant(fromMinute)} and received_at < ${instant(toMinute)}
    ) as entries
    group by minute order by minute`;
  return fetchRows(pool, query.compile(db), signal);
}

const sums = sql.join(Object.keys(nothing).map((name) => sql`sum(${sql.ref(name)})::int8 as ${sql.ref(name)}`));

/** Counts stored rows, so that deleted rows show. */
async function rowsByMinute(
  { db, pool }: Database,
  { fromMinute, toMinute, deviceId, signal }: ReconciliationQuery,
): Promise<Map<number, number>> {
  const ofDevice =
    deviceId === undefined
      ? sql`true`
      : sql`device_key = (select device_key from devices where device_id = ${deviceId})`;
  const query = sql<{ arrivedAt: number; count: number }>`
    select date_trunc('minute', received_at) as "arrivedAt", count(*) as count from readings
    where received_at >= ${instant(fromMinute)} and received_at < ${instant(toMinute)} and ${ofDevice}
    group by 1`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return new Map(rows.map(({ arrivedAt, count }) => [minuteOf(arrivedAt), count]));
}

async function edgesOf({ db, pool }: Database, { fromMinute, toMinute, signal }: ReconciliationQuery): Promise<Edge[]> {
  const query = sql<Omit<Edge, 'missingReports'> & { missing: string }>`
    select instance_id as "instanceId", first_reported_at as "firstReportedAt", last_reported_at as "lastReportedAt",
      is_finished as "isFinished", (int8multirange(int8range(1, upper(reports))) - reports)::text as missing
    from books_edges
    where first_reported_at < ${instant(toMinute)}
      and last_reported_at >= ${instant(fromMinute)} - ${reportIntervalMaxMs}::int4 * interval '1 millisecond'
    order by first_reported_at, instance_id limit ${edgesMax}`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return rows.map(({ missing, ...edge }) => ({
    ...edge,
    missingReports: [...missing.matchAll(/\[(\d+),(\d+)\)/g)].map(([, from, to]) => ({
      from: Number(from),
      to: Number(to) - 1,
    })),
  }));
}

const edgesMax = 1_000;

/**
 * When the newest recorded edge report was made (epoch milliseconds), if its instance, or one that reported about as late, has sent no final
 * report. Reports travel in the queue of the readings, which is first in, first out: readings still queued are younger, except for those
 * that a worker handed back.
 */
export async function newestEdgeReport(
  { db, pool }: Database,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<number | undefined> {
  const query = sql<{ newest: number | null; ofRunning: number | null }>`
    select max(last_reported_at) as newest, max(last_reported_at) filter (where not is_finished) as "ofRunning" from books_edges`;
  const [{ newest, ofRunning } = { newest: null, ofRunning: null }] = await fetchRows(pool, query.compile(db), signal);
  if (newest === null || ofRunning === null || newest - ofRunning > reportIntervalMaxMs) return undefined;
  return newest;
}

async function countUnreadable(
  { db, pool }: Database,
  { fromMinute, toMinute, signal }: ReconciliationQuery,
): Promise<number> {
  const query = sql<{ count: number }>`
    select count(*) as count from dead_letters
    where received_at is null and last_failed_at >= ${instant(fromMinute)} and last_failed_at < ${instant(toMinute)}`;
  return (await fetchRows(pool, query.compile(db), signal))[0]?.count ?? 0;
}

async function countAcceptedOfOthers(
  { db, pool }: Database,
  { fromMinute, toMinute, signal }: ReconciliationQuery,
): Promise<number> {
  const query = sql<{ count: number }>`
    select coalesce(sum(accepted), 0)::int8 as count from books_accepted
    where device_id = '' and minute >= ${fromMinute}::int4 and minute < ${toMinute}::int4`;
  return (await fetchRows(pool, query.compile(db), signal))[0]?.count ?? 0;
}

/** Deletes the entries and acknowledgements of minutes before `minute`, and instances whose last report is from before it. */
export async function deleteReconciliationEntries(pool: pg.Pool, minute: number): Promise<void> {
  for (const table of ['accepted', 'stored', 'duplicates', 'dead', 'forgotten'])
    await pool.query(`delete from books_${table} where minute < $1`, [minute]);
  const instantOfMinute = new Date(startOfMinute(minute)).toISOString();
  await pool.query('delete from books_edges where last_reported_at < $1', [instantOfMinute]);
  await pool.query('delete from books_acknowledgements where to_at < $1', [instantOfMinute]);
}

function instant(minute: number) {
  return sql<number>`${new Date(startOfMinute(minute)).toISOString()}::timestamptz`;
}
