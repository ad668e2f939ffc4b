import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { type Database, type DatabaseOptions, openDatabase } from '../src/database.ts';
import { migrate } from '../src/migrate.ts';

/** A migrated database of this suite's own. */
export async function freshStore(): Promise<{ databaseUrl: string; database: Database }> {
  const databaseUrl = await freshDatabase();
  await migrate(databaseUrl);
  return { databaseUrl, database: open(databaseUrl) };
}

/** Closed after the suite. */
export function open(databaseUrl: string, options: Partial<DatabaseOptions> = {}): Database {
  const database = openDatabase({
    databaseUrl,
    poolMax: 4,
    statementTimeoutMs: 20_000,
    applicationName: 'store-test',
    pipelined: true,
    ...options,
  });
  cleanUp(() => database.close());
  return database;
}

/** As if no readings had ever been dropped by retention. */
export async function forgetRetention({ pool }: Database): Promise<void> {
  await pool.query('truncate tiles, rollup_1h, rollup_1m, rollup_marks');
  await pool.query('update rollup_state set final_until = 0, raw_from = 0');
}

export async function countReadings({ pool }: Database): Promise<number> {
  const { rows } = await pool.query<{ count: number }>('select count(*) from readings');
  return rows[0]?.count ?? 0;
}
