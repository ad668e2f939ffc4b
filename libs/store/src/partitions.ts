import type pg from 'pg';
import { type Period, newPeriod, parsePeriod, periodAt } from './periods.ts';
import { closeRaw } from './rollups/close-raw.ts';
import { asBuilder, hourOf } from './rollups/horizon.ts';
import { weeksFrom } from './weeks.ts';

const prefix = 'readings_';
const dayMs = 24 * 60 * 60 * 1_000;

/** Serialises creating and detaching partitions among all processes. */
const partitionLockId = 4_602_715_112;
/** Serialises dropping, which takes longer. */
const dropLockId = 4_602_715_113;
/** A statement that waits for the table's lock makes all later ones wait, too; failing and retrying is better. */
const lockTimeoutMs = 5_000;

/** The device time before which readings are no longer kept. */
export function retentionCutoff(now: number, retentionDays: number): number {
  return now - retentionDays * dayMs;
}

/** The periods that have a partition, sorted by time. */
export async function existingPeriods(pool: Pick<pg.ClientBase, 'query'>): Promise<Period[]> {
  return (await partitions(pool)).filter(({ attached }) => attached).map(({ period }) => period);
}

/** @returns the device time from which on no reading was deleted by retention; undefined where none was deleted */
export async function earliestKept(client: Pick<pg.ClientBase, 'query'>): Promise<number | undefined> {
  // Each dropped partition has counted its readings there.
  const { rows } = await client.query<{ dropped: boolean }>('select exists (select from books_forgotten) as dropped');
  return rows[0]!.dropped ? (await existingPeriods(client))[0]?.from : undefined;
}

/** Creating one partition takes about 7 locks until the commit; a server has 6,400 by default (`max_locks_per_transaction`), for everything. */
const partitionsPerTransaction = 50;

export interface PartitionRequest {
  /** Device times that need a partition. */
  readonly times: readonly number[];
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * Creates the partitions of these times. Safe while others write, or do the same.
 * @returns the periods that have a partition now
 */
export async function ensurePartitions(pool: pg.Pool, request: PartitionRequest): Promise<Period[]> {
  const times = [...request.times].sort((a, b) => a - b);
  for (;;) {
    const { periods, isDone } = await createPartitions(pool, { ...request, times });
    if (isDone) return periods;
  }
}

/** One transaction: the periods are chosen under the lock, so that two processes never create overlapping ones. */
async function createPartitions(
  pool: pg.Pool,
  { times, now }: PartitionRequest,
): Promise<{ periods: Period[]; isDone: boolean }> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('begin');
    await client.query(`set local lock_timeout = ${lockTimeoutMs}`);
    await client.query('select pg_advisory_xact_lock($1)', [partitionLockId]);
    const known = await partitions(client);
    let periods = known.filter(({ attached }) => attached).map(({ period }) => period);
    const detached = known.filter(({ attached }) => !attached).map(({ period }) => period);
    let created = 0;
    let isDone = true;
    for (const time of times) {
      if (periodAt(periods, time) !== undefined) continue;
      if (created === partitionsPerTransaction) {
        isDone = false;
        break;
      }
      const period = periodAt(detached, time) ?? newPeriod(time, now, [...periods, ...detached]);
      await makePartition(client, period);
      created += 1;
      periods = [...periods, period].sort(byTime);
    }
    await client.query('commit');
    return { periods, isDone };
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

export interface Maintenance {
  /** Epoch milliseconds. */
  readonly now: number;
  readonly weeksAhead: number;
  /** Without it, readings are kept forever. */
  readonly retentionDays?: number | undefined;
  /** Ends it between two steps, before anything is dropped. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Creates the partitions of this week and of the next `weeksAhead`, and drops those whose readings are all older than retention.
 * Readers and writers do not wait. A dropped reading that is sent again is refused by its age.
 * @returns the names of the periods created and dropped, as in `2026w47`
 */
export async function maintainPartitions(
  pool: pg.Pool,
  maintenance: Maintenance,
): Promise<{ created: string[]; dropped: string[] }> {
  const { now, weeksAhead, retentionDays } = maintenance;
  const existing = await existingPeriods(pool);
  const missing = weeksFrom(now, weeksAhead).filter(({ from }) => periodAt(existing, from) === undefined);
  if (missing.length > 0) await ensurePartitions(pool, { times: missing.map(({ from }) => from), now });
  const dropped =
    retentionDays === undefined ? [] : await dropBefore(pool, retentionCutoff(now, retentionDays), maintenance.signal);
  return { created: missing.map((week) => week.name), dropped };
}

async function makePartition(client: pg.PoolClient, { name, from, to }: Period): Promise<void> {
  const table = prefix + name;
  // `create table … partition of` would block every reader and writer; attaching a table does not.
  await client.query(`create table if not exists ${table} (like readings including all)`);
  const bounds = [from, to].map((bound) => `'${new Date(bound).toISOString()}'`);
  await client.query(`alter table readings attach partition ${table} for values from (${bounds[0]}) to (${bounds[1]})`);
}

async function dropBefore(pool: pg.Pool, cutoff: number, signal: AbortSignal | undefined): Promise<string[]> {
  await keepRollups(pool, cutoff, signal);
  const client = await pool.connect();
  const dropped: string[] = [];
  let failure: Error | undefined;
  try {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    // `detach … concurrently` cannot run in a transaction, so the locks belong to the session.
    await client.query('select pg_advisory_lock($1)', [dropLockId]);
    for (const { table, period, attached, detaching } of await partitions(client)) {
      if (period.to > cutoff) continue;
      await client.query('select pg_advisory_lock($1)', [partitionLockId]);
      if (detaching) await client.query(`alter table readings detach partition ${table} finalize`);
      else if (attached) await client.query(`alter table readings detach partition ${table} concurrently`);
      // Counting takes long, and writers that need a new partition wait for this lock.
      await client.query('select pg_advisory_unlock($1)', [partitionLockId]);
      await dropDetached(client, table, period);
      dropped.push(period.name);
    }
    await client.query('select pg_advisory_unlock($1)', [dropLockId]);
    await client.query('reset lock_timeout');
    return dropped;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

/** Before readings are dropped, all of them are in rollups. */
async function keepRollups(pool: pg.Pool, cutoff: number, signal: AbortSignal | undefined): Promise<void> {
  const ending = (await existingPeriods(pool)).filter((period) => period.to <= cutoff);
  if (ending.length === 0) return;
  const hours = ending.map(({ from, to }) => ({ from: hourOf(from), to: hourOf(to) }));
  await asBuilder(pool, (client) => closeRaw(client, hours, signal), { isWaiting: true });
}

/** Counts the rows of each minute for reconciliation, then drops. No time limit: no query waits for a detached table. */
async function dropDetached(client: pg.PoolClient, table: string, { from }: Period): Promise<void> {
  await client.query('begin');
  await client.query('set local statement_timeout = 0');
  await client.query(`
    insert into books_forgotten as known (minute, readings)
    select (extract(epoch from date_trunc('minute', received_at)) / 60)::int4, count(*) from ${table} group by 1 order by 1
    on conflict (minute) do update set readings = known.readings + excluded.readings`);
  await client.query('delete from device_periods where from_ts = $1', [new Date(from).toISOString()]);
  await client.query(`drop table ${table}`);
  await client.query('commit');
}

interface Partition {
  readonly table: string;
  readonly period: Period;
  readonly attached: boolean;
  /** An earlier drop was interrupted while it detached. */
  readonly detaching: boolean;
}

/** Sorted by time. */
async function partitions(queryable: Pick<pg.ClientBase, 'query'>): Promise<Partition[]> {
  const { rows } = await queryable.query<{ table: string; attached: boolean; detaching: boolean }>(`
    select c.relname as table, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as detaching
    from pg_class c left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = 'readings'::regclass
    where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = 'readings'::regclass)
      and starts_with(c.relname, '${prefix}')`);
  const found = rows.flatMap(({ table, ...state }) => {
    const period = parsePeriod(table.slice(prefix.length));
    return period === undefined ? [] : [{ table, period, ...state }];
  });
  return found.sort((a, b) => byTime(a.period, b.period));
}

function byTime(a: Period, b: Period): number {
  return a.from - b.from;
}
