import { type Kysely, sql } from 'kysely';

/** Sessions of browsers, and one-time codes that begin one. Of both only a hash is kept: docs/decisions/0052-sessions-of-browsers.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table sessions (
      digest bytea primary key,
      subject text not null,
      role text not null,
      key text,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null,
      last_seen_at timestamptz not null default now()
    )`.execute(db);
  await sql`comment on column sessions.key is 'Thumbprint of the key that signed the token; the session ends with it'`.execute(
    db,
  );
  await sql`create index sessions_subject on sessions (subject, role, last_seen_at)`.execute(db);
  await sql`create index sessions_expiry on sessions (expires_at)`.execute(db);
  await sql`
    create table sign_in_codes (
      digest bytea primary key,
      subject text not null,
      role text not null,
      key text,
      token_expires_at timestamptz not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null
    )`.execute(db);
  await sql`create index sign_in_codes_subject on sign_in_codes (subject, role, created_at)`.execute(db);
  await sql`create index sign_in_codes_expiry on sign_in_codes (expires_at)`.execute(db);
}
