import { type Kysely, sql } from 'kysely';

/** A device whose readings are all ahead of their arrival has been seen, and has no latest state. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table device_latest alter column ts drop not null, alter column changed_from drop not null`.execute(
    db,
  );
}
