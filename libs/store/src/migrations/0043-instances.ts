import { type Kysely, sql } from 'kysely';

/** Processes of our services that query-api has heard in the last day: docs/decisions/0056-instances.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table instances (
      instance_id text collate "C" primary key,
      service text not null,
      name text not null,
      version text not null,
      started_at timestamptz not null,
      seen_at timestamptz not null,
      is_finished boolean not null
    )`.execute(db);
}
