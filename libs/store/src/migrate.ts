import { type Migration, Migrator } from 'kysely/migration';
import { type Database, openDatabase } from './database.ts';
import { SchemaNotCurrentError } from './failure.ts';
import * as telemetry from './migrations/0001-telemetry.ts';
import * as deadLetters from './migrations/0002-dead-letters.ts';
import * as deadLetterWork from './migrations/0003-dead-letter-work.ts';
import * as reconciliation from './migrations/0004-books.ts';
import * as isolationAttempts from './migrations/0005-suspects.ts';
import * as acknowledgements from './migrations/0007-acknowledgements.ts';
import * as everyValueInViews from './migrations/0008-every-value-in-views.ts';
import * as latestWithoutValues from './migrations/0009-latest-without-values.ts';
import * as latestBytes from './migrations/0010-latest-bytes.ts';

/** In the order in which they are applied. */
const migrations: Readonly<Record<string, Migration>> = {
  '0001-telemetry': telemetry,
  '0002-dead-letters': deadLetters,
  '0003-dead-letter-work': deadLetterWork,
  '0004-books': reconciliation,
  '0005-suspects': isolationAttempts,
  '0007-acknowledgements': acknowledgements,
  '0008-every-value-in-views': everyValueInViews,
  '0009-latest-without-values': latestWithoutValues,
  '0010-latest-bytes': latestBytes,
};

/** A migration may wait this long for the locks of other statements. */
const statementTimeoutMs = 10 * 60_000;

/**
 * Applies the migrations that are missing, all in one transaction. Several processes may call it together: one migrates, the others wait.
 * @returns the names of those applied by this call
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'fleetwire-migrate' });
  try {
    const migrator = new Migrator({ db: database.db, provider: { getMigrations: async () => ({ ...migrations }) } });
    const { error, results } = await migrator.migrateToLatest();
    if (error !== undefined) throw error instanceof Error ? error : new Error('could not migrate', { cause: error });
    return (results ?? []).map((result) => result.migrationName);
  } finally {
    await database.close();
  }
}

/** @throws SchemaNotCurrentError; whatever the connection throws */
export async function assertSchemaCurrent({ pool }: Pick<Database, 'pool'>): Promise<void> {
  const applied = new Set(await appliedMigrations(pool));
  const missing = Object.keys(migrations).filter((name) => !applied.has(name));
  if (missing.length > 0) throw new SchemaNotCurrentError(missing);
}

async function appliedMigrations(pool: Database['pool']): Promise<string[]> {
  const { rows: tables } = await pool.query<{ exists: boolean }>(
    `select to_regclass('kysely_migration') is not null as exists`,
  );
  if (!tables[0]?.exists) return [];
  const { rows } = await pool.query<{ name: string }>('select name from kysely_migration');
  return rows.map((row) => row.name);
}
