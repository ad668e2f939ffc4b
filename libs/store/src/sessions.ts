import { sql } from 'kysely';
import type pg from 'pg';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** Whose token began a session, or made a code. */
export interface SignedIn {
  readonly subject: string;
  readonly role: string;
  /** Thumbprint of the key that signed the token. */
  readonly key: string | null;
}

/** Times are epoch milliseconds. */
export interface StoredSession extends SignedIn {
  readonly expiresAt: number;
  readonly lastSeenAt: number;
}

export interface SessionBounds {
  /** Of one subject and role; the one that was used least recently is deleted for a further one. */
  readonly perSubjectMax: number;
  readonly sessionsMax: number;
}

interface Signal {
  readonly signal?: AbortSignal | undefined;
}

const columns = sql`subject, role, key, expires_at as "expiresAt", last_seen_at as "lastSeenAt"`;

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** @returns undefined where `sessionsMax` have not expired */
export async function insertSession(
  { db, pool }: Database,
  {
    digest,
    subject,
    role,
    key,
    expiresAt,
    bounds,
    signal,
  }: SignedIn & Signal & { readonly digest: Buffer; readonly expiresAt: number; readonly bounds: SessionBounds },
): Promise<StoredSession | undefined> {
  const query = sql<StoredSession>`
    with replaced as (
      delete from sessions where digest in (
        select digest from sessions where subject = ${subject} and role = ${role}
        order by last_seen_at desc offset ${bounds.perSubjectMax - 1})
      returning 1)
    insert into sessions (digest, subject, role, key, expires_at)
    select ${digest}::bytea, ${subject}, ${role}, ${key}, ${iso(expiresAt)}::timestamptz
    where (select count(*) from (select from sessions where expires_at > now() limit ${bounds.sessionsMax}) s)
      - (select count(*) from replaced) < ${bounds.sessionsMax}
    returning ${columns}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** @returns undefined where it has ended or expired */
export async function findSession(
  { db, pool }: Database,
  { digest, signal }: Signal & { readonly digest: Buffer },
): Promise<StoredSession | undefined> {
  const query = sql<StoredSession>`select ${columns} from sessions where digest = ${digest} and expires_at > now()`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

export async function touchSession(
  { db, pool }: Database,
  { digest, signal }: Signal & { readonly digest: Buffer },
): Promise<void> {
  const query = sql`update sessions set last_seen_at = now() where digest = ${digest}`;
  await fetchRows(pool, query.compile(db), signal);
}

export async function deleteSession(
  { db, pool }: Database,
  { digest, signal }: Signal & { readonly digest: Buffer },
): Promise<void> {
  await fetchRows(pool, sql`delete from sessions where digest = ${digest}`.compile(db), signal);
}

/** @param tokenExpiresAt when the session that it begins must have ended */
export async function insertSignInCode(
  { db, pool }: Database,
  {
    digest,
    subject,
    role,
    key,
    tokenExpiresAt,
    expiresAt,
    perSubjectMax,
    signal,
  }: SignedIn &
    Signal & {
      readonly digest: Buffer;
      readonly tokenExpiresAt: number;
      readonly expiresAt: number;
      readonly perSubjectMax: number;
    },
): Promise<void> {
  const query = sql`
    with replaced as (
      delete from sign_in_codes where digest in (
        select digest from sign_in_codes where subject = ${subject} and role = ${role}
        order by created_at desc offset ${perSubjectMax - 1}))
    insert into sign_in_codes (digest, subject, role, key, token_expires_at, expires_at)
    values (${digest}, ${subject}, ${role}, ${key}, ${iso(tokenExpiresAt)}, ${iso(expiresAt)})`;
  await fetchRows(pool, query.compile(db), signal);
}

/** A code is deleted by the first that takes it. @returns undefined where it was taken, has expired, or never was */
export async function takeSignInCode(
  { db, pool }: Database,
  { digest, signal }: Signal & { readonly digest: Buffer },
): Promise<(SignedIn & { readonly tokenExpiresAt: number }) | undefined> {
  const query = sql<SignedIn & { readonly tokenExpiresAt: number }>`
    delete from sign_in_codes where digest = ${digest} and expires_at > now()
    returning subject, role, key, token_expires_at as "tokenExpiresAt"`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

export async function deleteExpiredSessions(pool: pg.Pool): Promise<void> {
  for (const table of ['sessions', 'sign_in_codes']) await pool.query(`delete from ${table} where expires_at <= now()`);
}
