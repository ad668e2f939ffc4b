import type pg from 'pg';
import { rollupPartitions, rollupsKeptFrom } from './rollup-partitions.ts';

/** Readers that hold the table longer make this one wait for the next hour. */
const dropWaitMs = 500;

export interface RollupRetention {
  readonly hoursRetentionDays: number;
  readonly minutesRetentionDays: number;
}

/**
 * Drops rollups past retention, by quarters, on the clock of Postgres. Readings that are kept longer are read raw from then on.
 * @param client of the builder (asBuilder)
 * @returns the names of the dropped tables
 */
export async function dropOldRollups(client: pg.ClientBase, retention: RollupRetention): Promise<string[]> {
  const { rows } = await client.query<{ now: number; horizon: number }>(
    'select extract(epoch from clock_timestamp())::float8 * 1000 as now, horizon from rollup_state',
  );
  const { now, horizon } = rows[0]!;
  const hoursFrom = Math.min(horizon, rollupsKeptFrom(now, retention.hoursRetentionDays));
  const minutesFrom = Math.min(horizon, Math.max(hoursFrom, rollupsKeptFrom(now, retention.minutesRetentionDays)));
  await client.query(
    `with kept as (
       update rollup_state set built_from = greatest(built_from, $1), built_until = greatest(built_until, $1),
         minutes_from = greatest(minutes_from, $2)
       where built_from < $1 or minutes_from < $2
     )
     delete from rollup_marks where ctid = any(array(select ctid from rollup_marks where hour < $1 for update skip locked))`,
    [hoursFrom, minutesFrom],
  );
  const old = (await rollupPartitions(client)).filter(
    ({ table, quarter }) => quarter.to <= (table === 'rollup_1m' ? minutesFrom : hoursFrom),
  );
  const dropped: string[] = [];
  for (const { name } of old) if (await drop(client, name)) dropped.push(name);
  return dropped;
}

/** @returns false where readers hold the table */
async function drop(client: pg.ClientBase, table: string): Promise<boolean> {
  try {
    await client.query(`begin; set local lock_timeout = ${dropWaitMs}; drop table ${table}; commit`);
    return true;
  } catch (error) {
    await client.query('rollback');
    if ((error as { code?: string }).code !== '55P03') throw error;
    return false;
  }
}
