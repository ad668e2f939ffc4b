import { openDatabase } from '@fleetwire/store/database';

/** °C; the signals of the devices never reach it. A reading with it is valid for ingest-ws, and Postgres refuses it. */
export const poisonTemperature = -300;

const statementTimeoutMs = 30_000;

/** Makes Postgres refuse the poison readings, so that exactly these must be dead-lettered. */
export async function refusePoison(databaseUrl: string): Promise<void> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'chaos' });
  try {
    await database.pool.query(
      `alter table readings add constraint chaos_poison check (not numbers @> array[${poisonTemperature}]::float8[])`,
    );
  } finally {
    await database.close();
  }
}
