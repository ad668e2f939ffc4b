import { type Kysely, sql } from 'kysely';

/**
 * Readings in commit order: each transaction that stores readings has rows in `envelopes`, found by its id, with the times between which its
 * readings lie. docs/decisions/0046-changes-by-transaction.md. Writers of earlier releases do not enter every transaction; migration 0027
 * makes them hold their messages until they are replaced.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index envelopes_xid on envelopes (xid)`.execute(db);
  // What is known of transactions: all after after_xid, and all that began at from_time or later. Those that are in progress now do not store
  // readings: a writer's lock on the sequence ledger would have held up migration 0027. They may be of another database, and stay open for long. In another installation (restored from a
  // dump) neither means anything.
  await sql`
    create table changes_kept (
      installation int8 not null,
      after_xid xid8 not null,
      from_time timestamptz not null,
      is_only bool primary key default true check (is_only)
    )`.execute(db);
  await sql`
    insert into changes_kept (installation, after_xid, from_time)
    select system_identifier, (pg_snapshot_xmin(pg_current_snapshot())::text::int8 - 1)::text::xid8, clock_timestamp()
    from pg_control_system()`.execute(db);
}
