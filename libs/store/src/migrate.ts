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
import * as devicePeriods from './migrations/0011-device-periods.ts';
import * as forgottenStreams from './migrations/0012-forgotten-streams.ts';
import * as conflictingReadings from './migrations/0013-conflicting-readings.ts';
import * as positions from './migrations/0014-positions.ts';
import * as closedEdges from './migrations/0015-closed-edges.ts';
import * as deviceRegistry from './migrations/0016-device-registry.ts';
import * as deviceErasures from './migrations/0017-device-erasures.ts';
import * as deviceEventOutbox from './migrations/0018-device-event-outbox.ts';
import * as presence from './migrations/0019-presence.ts';
import * as producerCallTime from './migrations/0023-producer-call-time.ts';
import * as commands from './migrations/0024-commands.ts';
import * as stalePresence from './migrations/0026-stale-presence.ts';
import * as rollups from './migrations/0027-rollups.ts';
import * as changes from './migrations/0031-changes.ts';
import * as sqlViews from './migrations/0032-sql-views.ts';
import * as rawTiles from './migrations/0033-raw-tiles.ts';
import * as exportJobs from './migrations/0035-export-jobs.ts';
import * as sessions from './migrations/0038-sessions.ts';
import * as queueSamples from './migrations/0039-queue-samples.ts';
import * as alarms from './migrations/0040-alarms.ts';
import * as instances from './migrations/0043-instances.ts';

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
  '0011-device-periods': devicePeriods,
  '0012-forgotten-streams': forgottenStreams,
  '0013-conflicting-readings': conflictingReadings,
  '0014-positions': positions,
  '0015-closed-edges': closedEdges,
  '0016-device-registry': deviceRegistry,
  '0017-device-erasures': deviceErasures,
  '0018-device-event-outbox': deviceEventOutbox,
  '0019-presence': presence,
  '0023-producer-call-time': producerCallTime,
  '0024-commands': commands,
  '0026-stale-presence': stalePresence,
  '0027-rollups': rollups,
  '0031-changes': changes,
  '0032-sql-views': sqlViews,
  '0033-raw-tiles': rawTiles,
  '0035-export-jobs': exportJobs,
  '0038-sessions': sessions,
  '0039-queue-samples': queueSamples,
  '0040-alarms': alarms,
  '0043-instances': instances,
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
    const migrator = new Migrator({
      db: database.db,
      provider: { getMigrations: async () => ({ ...migrations }) },
      // Migrations that are developed side by side reach a database in any order; each depends only on those of earlier releases.
      allowUnorderedMigrations: true,
    });
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
