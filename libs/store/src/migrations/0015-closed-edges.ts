import { type Kysely, sql } from 'kysely';

/**
 * For closing an edge that has ended without a last report: silent_ms is for how long no report of it has been recorded, counted only while a
 * worker consumes and Postgres answers; silent_at is when that was last counted.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table edges
      add column silent_ms int8 not null default 0,
      add column silent_at timestamptz not null default now(),
      add column report_interval_ms int4 not null default 5000`.execute(db);
}
