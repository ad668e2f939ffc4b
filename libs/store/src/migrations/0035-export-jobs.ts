import { type Kysely, sql } from 'kysely';

/** Export jobs, one row each, until some days after their end: docs/decisions/0051-export-jobs.md. Their queue is pg-boss' (job-queue.ts). */
export async function up(db: Kysely<unknown>): Promise<void> {
  // json, not jsonb: it is never searched, and a name may have characters that jsonb cannot hold.
  await sql`
    create table export_jobs (
      number int8 generated always as identity primary key,
      id uuid not null unique,
      state text collate "C" not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
      role text collate "C" not null,
      created_by text collate "C" not null,
      question json not null,
      format text collate "C" not null,
      attempt int4 not null default 0,
      -- The attempt that writes the file, or has written it: no other one may.
      run uuid,
      -- The folder with its file; query-api writes an id into each.
      folder uuid,
      rows int8 not null default 0,
      bytes int8 not null default 0,
      estimated_rows int8,
      digest text collate "C",
      complete_until timestamptz,
      problem json,
      created_at timestamptz not null default now(),
      started_at timestamptz,
      progress_at timestamptz not null default now(),
      finished_at timestamptz,
      expires_at timestamptz,
      check ((finished_at is not null) = (state not in ('queued', 'running'))),
      check (state <> 'succeeded' or (run is not null and folder is not null and digest is not null and expires_at is not null))
    ) with (fillfactor = 70)`.execute(db);
  await sql`create index export_jobs_of_caller on export_jobs (created_by, role, number desc)`.execute(db);
  await sql`create index export_jobs_kept on export_jobs (state) where state in ('queued', 'running', 'succeeded')`.execute(
    db,
  );
}
