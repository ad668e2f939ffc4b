import { type Kysely, sql } from 'kysely';

/**
 * The device registry: what a client sets of a device, its version, and the trail of every change. A device that only sends has version 0
 * and no event. The reasons: docs/decisions/0030-device-registry.md.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A device that was registered before it has sent anything was not seen yet.
  await sql`alter table devices alter column first_seen_at drop not null`.execute(db);
  await sql`
    alter table devices
      add column name text,
      add column type text collate "C",
      add column status text collate "C" not null default 'active' check (status in ('active', 'maintenance', 'suspended', 'retired')),
      add column tags text[] collate "C" not null default '{}',
      add column location jsonb,
      add column metadata jsonb not null default '{}',
      add column expected_interval_ms int8,
      add column version int4 not null default 0`.execute(db);
  await sql`create index devices_tags on devices using gin (tags)`.execute(db);
  await sql`
    create table device_events (
      event_key int8 generated always as identity primary key,
      xid xid8 not null default pg_current_xact_id(),
      device_key int4 not null,
      version int4 not null,
      type text not null,
      occurred_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
      actor text not null,
      patch jsonb,
      state jsonb not null,
      unique (device_key, version)
    )`.execute(db);
  await sql`create index device_events_commit_order on device_events (xid, event_key)`.execute(db);
  await sql`
    create function device_events_are_append_only() returns trigger language plpgsql as $$
      begin
        raise exception 'device_events is append-only: it is the audit trail of the registry';
      end
    $$`.execute(db);
  await sql`
    create trigger append_only before update or delete or truncate on device_events
    for each statement execute function device_events_are_append_only()`.execute(db);
}
