import { type Kysely, sql } from 'kysely';

/**
 * Streams past retention are forgotten with their blocks: a block says when it was last written, and no block names a stream that is not
 * registered, so that a writer that knows a forgotten stream cannot store readings under it. docs/decisions/0027-forgotten-streams.md
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table sequence_blocks add column written_on date not null default current_date`.execute(db);
  await sql`
    alter table sequence_blocks add constraint sequence_blocks_stream foreign key (stream_key) references streams`.execute(
    db,
  );
  // For the bound on new streams of a device.
  await sql`create index on streams (device_key, first_seen_at)`.execute(db);
}
