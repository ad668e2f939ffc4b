import type { EdgeReport } from '@fleetwire/contracts/edge-report';
import type pg from 'pg';
import { int8Array } from '../binary-arrays.ts';

/** Numbers in one row of `envelopes` at most, so that an index on the first number of rows finds those of any number. */
export const numbersPerRowMax = 256;

/** @returns the key of an edge. Looks first, because an insert that conflicts uses up a key. */
export async function registerEdge(pool: pg.Pool, instanceId: string): Promise<number> {
  const find = async () =>
    (await pool.query<{ edge_key: number }>('select edge_key from edges where instance_id = $1', [instanceId])).rows[0]
      ?.edge_key;
  const known = await find();
  if (known !== undefined) return known;
  await pool.query('insert into edges (instance_id) values ($1) on conflict do nothing', [instanceId]);
  const registered = await find();
  if (registered === undefined) throw new Error(`edge ${instanceId} was just registered and is missing`);
  return registered;
}

/** Of an edge that does not say its interval. */
const reportIntervalMsDefault = 5_000;

/**
 * Enters the positions of an edge report. A report that is delivered again changes nothing, but that envelopes without an answer are waited
 * for anew.
 * @param unconfirmedWaitMs an envelope that was published without an answer may still be stored for this long
 */
export async function recordEdgePositions(
  pool: pg.Pool,
  { instanceId, isLast, positions }: EdgeReport,
  unconfirmedWaitMs: number,
): Promise<void> {
  const rows = [
    ...(positions?.unsent ?? []).flatMap((range) => rowsOf(range, 0)),
    ...(positions?.unconfirmed ?? []).flatMap((range) => rowsOf(range, unconfirmedWaitMs)),
  ];
  const edgeKey = await registerEdge(pool, instanceId);
  await pool.query(
    `with reported as (
       update edges set
         last = greatest(last, $2),
         numbered_before = greatest(numbered_before, $3),
         reported_at = now(),
         silent_ms = 0,
         silent_at = now(),
         report_interval_ms = $8,
         is_finished = is_finished or $4,
         closed_at = null
       where edge_key = $1
     )
     insert into envelopes (edge_key, first, last, settled_at)
     select $1, n.first, n.last, now() + n.wait_ms * interval '1 ms'
     from unnest($5::int8[], $6::int8[], $7::int8[]) as n (first, last, wait_ms)`,
    [
      edgeKey,
      positions?.last ?? 0,
      positions === undefined ? null : new Date(positions.numberedBefore).toISOString(),
      isLast,
      int8Array(rows.map(({ first }) => first)),
      int8Array(rows.map(({ last }) => last)),
      int8Array(rows.map(({ waitMs }) => waitMs)),
      positions?.intervalMs ?? reportIntervalMsDefault,
    ],
  );
}

function rowsOf([from, to]: readonly [number, number], waitMs: number) {
  const rows: { first: number; last: number; waitMs: number }[] = [];
  for (let first = from; first <= to; first += numbersPerRowMax)
    rows.push({ first, last: Math.min(to, first + numbersPerRowMax - 1), waitMs });
  return rows;
}

/** Rows above a position that one look reads: what follows a hole is read again with each look until the hole is filled. */
const rowsPerLookMax = 5_000;

/**
 * The end of the run of rows that follows number `from` of edge `e`, or null without one.
 * @param condition on the rows
 */
function endOfRun(from: string, condition: string): string {
  return `(
    select max(last) from (
      select last, bool_or(first > greatest(reached, ${from}) + 1) over (order by first, last) as is_beyond_hole from (
        select first, last, max(last) over (order by first, last rows between unbounded preceding and 1 preceding) as reached from (
          select first, last from envelopes
          where edge_key = e.edge_key and first > ${from} - ${numbersPerRowMax} and last > ${from} and ${condition}
          order by first, last limit ${rowsPerLookMax}
        ) as following
      ) as reaching
    ) as run where not is_beyond_hole)`;
}

/** Each open edge as it is in this snapshot. `greatest` ignores nulls. */
export const openEdges = `
  select e.*, greatest(e.settled, ${endOfRun('e.settled', 'settled_at <= now()')}) as settled_now,
    greatest(e.accounted, ${endOfRun('e.accounted', `settled_at < 'infinity'`)}) as accounted_now,
    greatest(e.last, e.settled, (select last from envelopes where edge_key = e.edge_key order by first desc limit 1),
      (select max(number) from envelope_parts where edge_key = e.edge_key)) as known
  from edges e where closed_at is null`;

/** An edge is silent for this long, or for four of its report intervals, before it may be taken for ended. */
const silentMsMin = 60_000;
const silentIntervalsMin = 4;
/** An edge with numbers whose fate is not known is closed after this time: retries of a reading take 11 minutes at most. */
const silentMsWithHoles = 15 * 60_000;
/** More time than this between two looks is not counted: it is not known whether workers were consuming. */
const silentStepMsMax = 2_000;

/** Of a closed edge `e`, all numbers up to this count as settled. */
export const closedUpTo = 'greatest(e.settled, e.last)';

export interface ClosedEdge {
  readonly instanceId: string;
  readonly settled: number;
  /** It has sent its last report. */
  readonly hasReported: boolean;
}

const isEnded = `(
  (e.is_finished and o.settled_now >= e.last)
  or (o.settled_now >= o.known and e.silent_ms >= greatest(${silentMsMin}, ${silentIntervalsMin} * e.report_interval_ms))
  or (e.silent_ms >= ${silentMsWithHoles} and not exists (
    select from envelope_parts p where p.edge_key = e.edge_key and p.number > o.settled_now)))`;

/** Two processes that change many edges, each in an order of its own, could wait for each other: the second one leaves it to the first. */
const advancingLockId = 4_602_715_116;
const isAlone = `(select pg_try_advisory_xact_lock(${advancingLockId}))`;

/**
 * Advances the positions of all open edges, and closes those that have ended: they have sent their last report and are settled, or no report
 * has been recorded for long enough (docs/decisions/0025-positions-of-envelopes.md). Several processes may call it together: one of them does it. `settled` of an
 * edge with holes stays below them: it may report again, and what is in the holes may still be queued.
 * @param isConsuming messages of the edges come to this process, so that silence means something
 * @returns the edges that this call has closed
 */
export async function advancePositions(pool: pg.Pool, isConsuming = false): Promise<ClosedEdge[]> {
  if (isConsuming)
    await pool.query(`
      update edges set
        silent_ms = silent_ms + least(${silentStepMsMax}, (extract(epoch from now() - silent_at) * 1000)::int8),
        silent_at = now()
      where closed_at is null and reported_at < now() - interval '10 s' and silent_at < now() - interval '0.5 s' and ${isAlone}`);
  const { rows } = await pool.query<ClosedEdge & { isClosed: boolean }>(`
    update edges e set
      settled = greatest(e.settled, o.settled_now),
      last = case when ${isEnded} then o.known else e.last end,
      accounted = greatest(e.accounted, o.accounted_now),
      complete_until = case when o.accounted_now >= e.last then e.numbered_before else e.complete_until end,
      closed_at = case when ${isEnded} then now() end
    from (${openEdges}) as o
    where o.edge_key = e.edge_key and ${isAlone} and (
      o.settled_now > e.settled or o.accounted_now > e.accounted
      or (o.accounted_now >= e.last and e.numbered_before is distinct from e.complete_until)
      or ${isEnded})
    returning e.instance_id as "instanceId", ${closedUpTo} as settled, e.is_finished as "hasReported", e.closed_at is not null as "isClosed"`);
  return rows.filter(({ isClosed }) => isClosed);
}

const rowsPerDelete = 50_000;

/** Deletes the positions of envelopes that were settled longer ago; `settled` of the edges stays. */
export async function deletePositions(pool: pg.Pool, retentionDays: number): Promise<void> {
  const before = `now() - ${retentionDays} * interval '1 day'`;
  for (let deleted = rowsPerDelete; deleted === rowsPerDelete;) deleted = await deleteEnvelopes(pool, before);
  for (let deleted = rowsPerDelete; deleted === rowsPerDelete;) {
    const { rowCount } = await pool.query(
      `delete from envelope_parts where ctid = any(array(select ctid from envelope_parts where settled_at < ${before} limit ${rowsPerDelete}))`,
    );
    deleted = rowCount ?? 0;
  }
  await pool.query(`delete from envelopes where settled_at = 'infinity' and received_max < ${before}`);
  await pool.query(`delete from edges where closed_at < ${before}`);
}

/** The same transaction says which transactions cannot be read as changes any more. @returns how many rows it has deleted */
async function deleteEnvelopes(pool: pg.Pool, before: string): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`
    with deleted as (
      delete from envelopes
      where ctid = any(array(select ctid from envelopes where settled_at < ${before} limit ${rowsPerDelete}))
      returning case when xmin = xid::xid then xid end as xid
    ), noted as (
      update changes_kept k set
        after_xid = case when k.installation = s.system_identifier then greatest(k.after_xid, d.xid) else d.xid end,
        from_time = greatest(k.from_time, ${before}),
        installation = s.system_identifier
      from (select xid from deleted where xid is not null order by xid desc limit 1) as d, pg_control_system() as s
    )
    select count(*) from deleted`);
  return rows[0]!.count;
}
