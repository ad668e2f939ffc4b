import { type Kysely, sql } from 'kysely';

/** Commands to devices, one row each, and the jobs that send one command to many devices: docs/decisions/0035-commands.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table command_jobs (
      number int8 generated always as identity primary key,
      id text collate "C" not null unique,
      target jsonb not null,
      command text collate "C" not null,
      args json,
      mode text collate "C" not null,
      rate_per_second int4 not null,
      -- When the next commands may be dispatched; null once all may be.
      next_release_at timestamptz,
      created_at timestamptz not null default now(),
      created_by text collate "C" not null,
      idempotency_key text collate "C",
      digest text,
      cancelled_by text
    )`.execute(db);
  await sql`create unique index on command_jobs (created_by, idempotency_key) where idempotency_key is not null`.execute(
    db,
  );
  await sql`create index on command_jobs (next_release_at) where next_release_at is not null`.execute(db);
  await createCommands(db);
}

async function createCommands(db: Kysely<unknown>): Promise<void> {
  // json, not jsonb: it is never searched, and a device may answer with text that jsonb cannot hold.
  await sql`
    create table commands (
      number int8 generated always as identity primary key,
      id text collate "C" not null unique,
      job_number int8 references command_jobs,
      device_id text collate "C" not null,
      command text collate "C" not null,
      -- Those of the job where it has one.
      args json,
      mode text collate "C" not null check (mode in ('now', 'when-online')),
      state text collate "C" not null
        check (state in ('queued', 'sent', 'delivered', 'succeeded', 'failed', 'timed-out', 'expired', 'cancelled')),
      timeout_ms int4 not null,
      -- Of the mode when-online.
      expires_at timestamptz,
      -- Until when the device may answer; null before the first dispatch of the mode when-online.
      deadline_at timestamptz,
      -- When the dispatcher looks at it next; null once it has ended, and until its job releases it.
      due_at timestamptz,
      -- Where the attempt in progress was published to.
      dispatched_to text collate "C" check (dispatched_to in ('edge', 'edges')),
      -- How often an edge has written it to a socket.
      attempts int4 not null default 0,
      edge text collate "C",
      sent_at timestamptz,
      delivered_at timestamptz,
      finished_at timestamptz,
      result json,
      error json,
      late_result json,
      -- The instance of query-api that waits for the result.
      reply_to text collate "C",
      created_at timestamptz not null default now(),
      created_by text collate "C" not null,
      idempotency_key text collate "C",
      digest text,
      cancelled_by text,
      check ((finished_at is not null) = (state in ('succeeded', 'failed', 'timed-out', 'expired', 'cancelled'))),
      check (finished_at is null or due_at is null)
    ) with (fillfactor = 70)`.execute(db);
  await sql`create unique index on commands (created_by, idempotency_key) where idempotency_key is not null`.execute(
    db,
  );
  await sql`create index commands_of_device on commands (device_id, number desc)`.execute(db);
  await sql`create index commands_pending on commands (device_id) where finished_at is null`.execute(db);
  await sql`create index commands_due on commands (due_at) where due_at is not null`.execute(db);
  await sql`create index commands_of_job on commands (job_number, number) where job_number is not null`.execute(db);
  await sql`create index commands_finished on commands (finished_at) where finished_at is not null`.execute(db);
}
