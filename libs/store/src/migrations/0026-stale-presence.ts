import { type Kysely, sql } from 'kysely';

/** A device that is connected, or sent over HTTP, and is overdue: docs/decisions/0038-presence-events-and-silence.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table presence drop constraint presence_status_check,
      add constraint presence_status_check check (status in ('online', 'stale', 'offline'))`.execute(db);
}
