import type pg from 'pg';
import { type Week, parseWeek, weeksFrom } from './weeks.ts';

const prefix = 'readings_';
const dayMs = 24 * 60 * 60 * 1_000;

/** Serialises creating and dropping partitions among all processes. */
const partitionLockId = 4_602_715_112;
/** A statement that waits for the table's lock makes all later ones wait, too; failing and retrying is better. */
const lockTimeoutMs = 5_000;

/** The device time before which readings are no longer kept. */
export function retentionCutoff(now: number, retentionDays: number): number {
  return now - retentionDays * dayMs;
}

/** Starts (epoch milliseconds) of the weeks that have a partition. */
export async function existingWeeks(pool: pg.Pool): Promise<Set<number>> {
  return new Set((await partitions(pool)).filter(({ attached }) => attached).map(({ week }) => week.from));
}

/** Creating one partition takes about 7 locks until the commit; a server has 6,400 by default (`max_locks_per_transaction`), for everything. */
const partitionsPerTransaction = 50;

/** Creates the partitions of these weeks. Safe while others write, or do the same. */
export async function ensurePartitions(pool: pg.Pool, weeks: readonly Week[]): Promise<void> {
  for (let first = 0; first < weeks.length; first += partitionsPerTransaction)
    await createPartitions(pool, weeks.slice(first, first + partitionsPerTransaction));
}

async function createPartitions(pool: pg.Pool, weeks: readonly Week[]): Promise<void> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('begin');
    await client.query(`set local lock_timeout = ${lockTimeoutMs}`);
    await client.query('select pg_advisory_xact_lock($1)', [partitionLockId]);
    for (const week of weeks) await makePartition(client, week);
    await client.query('commit');
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
}

/**
 * Creates the partitions of this week and of the next `weeksAhead`, and drops those whose readings are all older than retention.
 * Readers and writers do not wait. The sequence ledger keeps the identities, so a dropped reading that is sent again is not stored again.
 * @returns the names of the weeks created and dropped, as in `2026w47`
 */
export async function maintainPartitions(
  pool: pg.Pool,
  maintenance: Maintenance,
): Promise<{ created: string[]; dropped: string[] }> {
  const { now, weeksAhead, retentionDays } = maintenance;
  const existing = await existingWeeks(pool);
  const missing = weeksFrom(now, weeksAhead).filter((week) => !existing.has(week.from));
  await ensurePartitions(pool, missing);
  const dropped = retentionDays === undefined ? [] : await dropBefore(pool, retentionCutoff(now, retentionDays));
  return { created: missing.map((week) => week.name), dropped };
}

async function makePartition(client: pg.PoolClient, { name, from, to }: Week): Promise<void> {
  const table = prefix + name;
  // `create table … partition of` would block every reader and writer; attaching a table does not.
  await client.query(`create table if not exists ${table} (like readings including all)`);
  const { rowCount: attached } = await client.query('select from pg_inherits where inhrelid = to_regclass($1)', [
    table,
  ]);
  if (attached) return;
  const bounds = [from, to].map((bound) => `'${new Date(bound).toISOString()}'`);
  await client.query(`alter table readings attach partition ${table} for values from (${bounds[0]}) to (${bounds[1]})`);
}

async function dropBefore(pool: pg.Pool, cutoff: number): Promise<string[]> {
  const client = await pool.connect();
  const dropped: string[] = [];
  let failure: Error | undefined;
  try {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    // `detach … concurrently` cannot run in a transaction, so the lock belongs to the session.
    await client.query('select pg_advisory_lock($1)', [partitionLockId]);
    for (const { table, week, attached, detaching } of await partitions(client)) {
      if (week.to > cutoff) continue;
      if (detaching) await client.query(`alter table readings detach partition ${table} finalize`);
      else if (attached) await client.query(`alter table readings detach partition ${table} concurrently`);
      await dropDetached(client, table);
      dropped.push(week.name);
    }
    await client.query('select pg_advisory_unlock($1)', [partitionLockId]);
    await client.query('reset lock_timeout');
    return dropped;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

/** Counts the rows of each minute for reconciliation, then drops. No time limit: no query waits for a detached table. */
async function dropDetached(client: pg.PoolClient, table: string): Promise<void> {
  await client.query('begin');
  await client.query('set local statement_timeout = 0');
  await client.query(`
    insert into books_forgotten as known (minute, readings)
    select (extract(epoch from date_trunc('minute', received_at)) / 60)::int4, count(*) from ${table} group by 1 order by 1
    on conflict (minute) do update set readings = known.readings + excluded.readings`);
  await client.query(`drop table ${table}`);
  await client.query('commit');
}

interface Partition {
  readonly table: string;
  readonly week: Week;
  readonly attached: boolean;
  /** An earlier drop was interrupted while it detached. */
  readonly detaching: boolean;
}

async function partitions(queryable: Pick<pg.ClientBase, 'query'>): Promise<Partition[]> {
  const { rows } = await queryable.query<{ table: string; attached: boolean; detaching: boolean }>(`
    select c.relname as table, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as detaching
    from pg_class c left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = 'readings'::regclass
    where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = 'readings'::regclass)
      and starts_with(c.relname, '${prefix}')
    order by c.relname`);
  return rows.flatMap(({ table, ...state }) => {
    const week = parseWeek(table.slice(prefix.length));
    return week === undefined ? [] : [{ table, week, ...state }];
  });
}
