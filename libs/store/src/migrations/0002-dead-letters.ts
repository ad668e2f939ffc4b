import { type Kysely, sql } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table dead_letters (
      id text collate "C" primary key,
      reason text not null,
      error_code text not null,
      error_message text not null,
      fingerprint text not null,
      attempts int4 not null,
      first_failed_at timestamptz not null,
      last_failed_at timestamptz not null,
      device_id text collate "C",
      epoch text collate "C",
      seq int8,
      received_at timestamptz,
      payload bytea not null,
      payload_encoding text not null,
      created_at timestamptz not null default now()
    )`.execute(db);
  // Each filter is also a page order: newest first, the id making it total.
  for (const filter of ['fingerprint, ', 'device_id, ', 'reason, ', '']) {
    await sql`create index on dead_letters (${sql.raw(filter)}created_at desc, id)`.execute(db);
  }
}
