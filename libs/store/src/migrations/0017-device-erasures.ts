import { type Kysely, sql } from 'kysely';

/** Jobs that erase the readings of a device, and the mark that they leave. The sequence ledger is not touched: erased readings do not come back. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table devices add column erased_before timestamptz`.execute(db);
  await sql`
    create table device_erasures (
      number int8 generated always as identity primary key,
      id text collate "C" not null unique,
      device_key int4 not null,
      state text not null default 'running' check (state in ('running', 'settling', 'done')),
      requested_by text not null,
      erase_before timestamptz not null,
      started_at timestamptz not null default now(),
      next_pass_at timestamptz not null default now(),
      finished_at timestamptz,
      readings int8 not null default 0,
      dead_letters int8 not null default 0,
      -- What the pass in progress has erased.
      pass_erased int8 not null default 0
    )`.execute(db);
  await sql`create index device_erasures_to_run on device_erasures (number) where state <> 'done'`.execute(db);
  await sql`create index on device_erasures (device_key, number)`.execute(db);
}
