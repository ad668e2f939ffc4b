import { type Kysely, sql } from 'kysely';

/** Possible poison messages, with the number of attempts to handle them alone that did not end (yet). */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table suspects (
      message_id text collate "C" primary key,
      unfinished_trials int4 not null,
      last_trial uuid not null,
      last_tried_at timestamptz not null default now()
    )`.execute(db);
}
