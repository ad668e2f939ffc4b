import { type Kysely, sql } from 'kysely';

/**
 * Connections of devices, and whether a device is online: docs/decisions/0033-presence.md. Devices are named by their ids: a device may
 * connect and never send a reading.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table connections (
      session_id text collate "C" primary key,
      device_id text collate "C" not null,
      edge text collate "C" not null,
      generation int4 not null,
      epoch text collate "C" not null,
      started_at timestamptz not null,
      ended_at timestamptz,
      reason text collate "C",
      check ((ended_at is null) = (reason is null))
    )`.execute(db);
  await sql`create index connections_of_device on connections (device_id, started_at desc, session_id desc)`.execute(
    db,
  );
  await sql`create index connections_ended_at on connections (ended_at)`.execute(db);
  await sql`
    create table presence (
      device_id text collate "C" primary key,
      status text collate "C" not null check (status in ('online', 'offline')),
      reason text collate "C" not null,
      since timestamptz not null,
      sessions int4 not null
    ) with (fillfactor = 70)`.execute(db);
  // The worker that derives presence. Another one takes over when it is gone.
  await sql`
    create table presence_owner (
      only_row bool primary key default true check (only_row),
      worker text collate "C" not null,
      renewed_at timestamptz not null
    )`.execute(db);
  await sql`insert into presence_owner (worker, renewed_at) values ('', 'epoch')`.execute(db);
}
