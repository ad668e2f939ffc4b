import { type Kysely, sql } from 'kysely';

/** Which tiles of a device have no rollups: the only ones that a question over months looks for. docs/decisions/0050-speed-of-questions.md */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index tiles_raw on tiles (device_key, hour) where kind = 0`.execute(db);
}
