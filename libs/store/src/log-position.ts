import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** A place in the write-ahead log of a database system. */
export interface LogPosition {
  readonly system: string;
  readonly position: number;
}

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** Where the primary writes now: what was committed before the call lies before it. */
export async function writtenPosition({ db, pool }: Database, { signal }: Abortable): Promise<LogPosition> {
  const query = sql<LogPosition>`
    select s.system_identifier::text as system, (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8 as position from pg_control_system() s`;
  return (await fetchRows(pool, query.compile(db), signal))[0] as LogPosition;
}

/** Up to where a replica has replayed; undefined of a database that is none, also after it was promoted. */
export async function replayedPosition(
  { db, pool }: Database,
  { signal }: Abortable,
): Promise<LogPosition | undefined> {
  const query = sql<LogPosition>`
    select s.system_identifier::text as system, (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 as position
    from pg_control_system() s where pg_is_in_recovery() and pg_last_wal_replay_lsn() is not null`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}
