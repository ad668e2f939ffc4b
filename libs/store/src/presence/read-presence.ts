import type { Connection, PresenceStatus } from '@fleetwire/contracts/presence';
import { sql } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';

/** Times are epoch milliseconds. */
export interface StoredConnection extends Omit<Connection, 'end' | 'deviceId' | 'generation'> {
  readonly endedAt: number | null;
  readonly reason: string | null;
}

export interface ConnectionPosition {
  readonly startedAt: number;
  readonly sessionId: string;
}

/** Connections of a device that were open at some time from `from` until `to`, newest first. */
export async function connectionsOfDevice(
  database: Database,
  options: PageBounds & {
    readonly deviceId: string;
    readonly from: number;
    readonly to: number;
    readonly after?: ConnectionPosition | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<(StoredConnection & { readonly bytes: number })[]> {
  const { deviceId, from, to, after, signal } = options;
  return collectRows<StoredConnection & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const position = last ?? after;
    const following =
      position === undefined
        ? sql`true`
        : sql`(started_at, session_id) < (${at(position.startedAt)}, ${position.sessionId})`;
    const query = sql<StoredConnection>`(
      select session_id as "sessionId", edge, epoch, started_at as "startedAt", ended_at as "endedAt", reason
      from connections
      where device_id = ${deviceId} and started_at < ${at(to)} and (ended_at is null or ended_at >= ${at(from)}) and ${following}
      order by started_at desc, session_id desc limit ${limit})`;
    return sized(await fetchUpTo(database, query, { documents: ['epoch'], bytesMax, signal }));
  });
}

export async function countPresence(
  { db, pool }: Database,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<{ status: PresenceStatus; count: number }[]> {
  const query = sql<{ status: PresenceStatus; count: number }>`select status, count(*) from presence group by 1`;
  return fetchRows(pool, query.compile(db), signal);
}

function at(epochMs: number) {
  return sql`${new Date(epochMs).toISOString()}::timestamptz`;
}
