import { type Kysely, sql } from 'kysely';

// Decisions about dead letters and their replays: docs/decisions/0020-replaying-dead-letters.md.

export async function up(db: Kysely<unknown>): Promise<void> {
  await numberDeadLetters(db);
  await createReplays(db);
  await createActions(db);
}

/** Numbers follow arrival: they order the pages, and are the position of a replay. */
async function numberDeadLetters(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table dead_letters
      add column number int8 generated always as identity,
      add column status text not null default 'open',
      add column changed_at timestamptz not null default now(),
      add column last_arrived_at timestamptz not null default now(),
      add column replays int4 not null default 0,
      add column automatic_replays int4 not null default 0,
      add column repeated int4 not null default 0,
      add column headers text`.execute(db);
  for (const filter of ['fingerprint_', 'device_id_', 'reason_', '']) {
    await sql`drop index ${sql.ref(`dead_letters_${filter}created_at_id_idx`)}`.execute(db);
  }
  await sql`create unique index on dead_letters (number)`.execute(db);
  for (const filter of ['fingerprint', 'device_id', 'reason', 'status']) {
    await sql`create index on dead_letters (${sql.ref(filter)}, number)`.execute(db);
  }
  await sql`create index on dead_letters (device_id, epoch, seq)`.execute(db);
  await sql`create index on dead_letters (last_failed_at)`.execute(db);
}

async function createReplays(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table dead_letter_replays (
      id text collate "C" primary key,
      number int8 generated always as identity unique,
      source text not null,
      state text not null,
      created_by text not null,
      created_at timestamptz not null default now(),
      finished_at timestamptz,
      selection jsonb not null,
      copy jsonb,
      rate_per_second float8 not null,
      matched int8 not null,
      position int8 not null default 0,
      number_max int8 not null,
      published int8 not null default 0,
      stored int8 not null default 0,
      failed_again int8 not null default 0,
      unknown int8 not null default 0,
      leased_by text,
      leased_until timestamptz
    )`.execute(db);
  await sql`create index dead_letter_replays_to_run on dead_letter_replays (number) where state in ('queued', 'running')`.execute(
    db,
  );
  await sql`
    create unique index dead_letter_replays_one_automatic on dead_letter_replays (source)
    where source = 'automatic' and state in ('queued', 'running')`.execute(db);
  await sql`
    create table dead_letter_replay_items (
      replay_id text collate "C" not null references dead_letter_replays on delete cascade,
      dead_letter_id text collate "C" not null references dead_letters on delete cascade,
      device_id text collate "C",
      epoch text collate "C",
      seq int8,
      offered_at timestamptz not null,
      outcome text,
      settled_at timestamptz,
      checks int4 not null default 0,
      check_after timestamptz not null default now(),
      primary key (replay_id, dead_letter_id)
    )`.execute(db);
  await sql`create index on dead_letter_replay_items (dead_letter_id)`.execute(db);
  await sql`create index on dead_letter_replay_items (check_after) where outcome is null`.execute(db);
}

/** The audit: its rows outlive the dead letters and replays that they name. */
async function createActions(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table dead_letter_actions (
      number int8 generated always as identity primary key,
      at timestamptz not null default now(),
      actor text not null,
      action text not null,
      dead_letter_id text collate "C",
      replay_id text collate "C",
      details jsonb not null default '{}'
    )`.execute(db);
  await sql`create index on dead_letter_actions (dead_letter_id, number) where dead_letter_id is not null`.execute(db);
  await sql`create index on dead_letter_actions (at)`.execute(db);
}
