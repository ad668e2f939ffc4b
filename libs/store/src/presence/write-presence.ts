import type { Connection, DevicePresence, Moment } from '@fleetwire/contracts/presence';
import { endedRememberedMs, Presence } from '@fleetwire/contracts/presence';
import type { PresenceChange } from '@fleetwire/contracts/presence-event';
import type { PoolClient } from 'pg';
import type pg from 'pg';
import { leavesConnectionUsable } from '../cancellable.ts';

/** A worker that has not renewed its ownership for this long is gone. */
const ownerSilentMsMax = 5_000;

/**
 * Runs one step of the worker that owns presence, in a transaction that excludes all other workers.
 * @param options.takesOver the worker has received facts, which only one worker does: it becomes the owner if it is not
 * @param options.step gets the stored state if another worker was the owner before
 * @returns false where another worker is the owner
 */
export async function asPresenceOwner(
  pool: pg.Pool,
  options: {
    readonly worker: string;
    readonly takesOver: boolean;
    readonly step: (client: PoolClient, isNewOwner: boolean) => Promise<void>;
  },
): Promise<boolean> {
  const { worker, takesOver, step } = options;
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ worker: string; is_gone: boolean }>(
      `select worker, renewed_at < clock_timestamp() - $1 * interval '1 ms' as is_gone from presence_owner for update`,
      [ownerSilentMsMax],
    );
    const isOwner = rows[0]?.worker === worker;
    const mayOwn = isOwner || takesOver || rows[0]?.is_gone === true;
    if (mayOwn) {
      await client.query('update presence_owner set worker = $1, renewed_at = clock_timestamp()', [worker]);
      await step(client, !isOwner);
    }
    await client.query('commit');
    client.release();
    return mayOwn;
  } catch (error) {
    if (leavesConnectionUsable(error)) {
      await client.query('rollback').catch(() => {});
      client.release();
    } else client.release(error as Error);
    throw error;
  }
}

/** The state of presence as it was last stored. */
export async function restorePresence(client: PoolClient, now: Moment): Promise<Presence> {
  const { rows } = await client.query<Omit<Connection, 'end'> & { endedAt: number | null; reason: string | null }>(
    `select session_id as "sessionId", device_id as "deviceId", edge, generation, epoch, started_at as "startedAt", ended_at as "endedAt", reason
     from connections where ended_at is null or ended_at > now() - $1 * interval '1 ms' order by ended_at nulls first`,
    [endedRememberedMs],
  );
  const connections = rows.map(({ endedAt, reason, ...connection }) => ({
    ...connection,
    end: endedAt === null ? undefined : { at: endedAt, reason },
  }));
  return Presence.restored(connections as Connection[], now);
}

/** A session that ended long ago stays ended, unless its edge was lost and announces it again. */
export async function writeConnections(client: PoolClient, connections: readonly Connection[]): Promise<void> {
  if (connections.length === 0) return;
  await client.query(
    `insert into connections as c (session_id, device_id, edge, generation, epoch, started_at, ended_at, reason)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::int4[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[])
     on conflict (session_id) do update set generation = excluded.generation, ended_at = excluded.ended_at, reason = excluded.reason
     where c.reason is null or c.reason = 'edge-lost'`,
    [
      connections.map(({ sessionId }) => sessionId),
      connections.map(({ deviceId }) => deviceId),
      connections.map(({ edge }) => edge),
      connections.map(({ generation }) => generation),
      connections.map(({ epoch }) => epoch),
      connections.map(({ startedAt }) => timestamp(startedAt)),
      connections.map(({ end }) => (end === undefined ? null : timestamp(end.at))),
      connections.map(({ end }) => end?.reason ?? null),
    ],
  );
}

/**
 * A late end of an older session does not replace what is shown of a device without a connection, and another connection of a silent device
 * says nothing of its readings.
 * @returns the devices that are shown differently from before
 */
export async function writePresence(
  client: PoolClient,
  devices: readonly DevicePresence[],
): Promise<readonly PresenceChange[]> {
  if (devices.length === 0) return [];
  const { rows } = await client.query<PresenceChange>(
    `with given as (
       select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::int4[])
         as g (device_id, status, reason, since, sessions)
     ), before as (
       select p.* from presence p join given using (device_id)
     ), written as (
       insert into presence as p (device_id, status, reason, since, sessions)
       select g.device_id, coalesce(b.status, g.status), coalesce(b.reason, g.reason), coalesce(b.since, g.since), g.sessions
       from given g left join before b
         on b.device_id = g.device_id and b.status = 'stale' and b.sessions > 0 and g.sessions > 0
       on conflict (device_id) do update
         set status = excluded.status, reason = excluded.reason, since = excluded.since, sessions = excluded.sessions
       where (p.status, p.reason, p.since, p.sessions) is distinct from (excluded.status, excluded.reason, excluded.since, excluded.sessions)
         and (p.sessions > 0 or p.reason = 'reconnecting' or excluded.status = 'online' or excluded.since >= p.since)
       returning *
     )
     select w.device_id as "deviceId", w.status, w.reason, w.since from written w left join before b using (device_id)
     where (b.status, b.reason, b.since) is distinct from (w.status, w.reason, w.since)`,
    [
      devices.map(({ deviceId }) => deviceId),
      devices.map(({ status }) => status),
      devices.map(({ reason }) => reason),
      devices.map(({ since }) => timestamp(since)),
      devices.map(({ sessions }) => sessions),
    ],
  );
  return rows;
}

/** Deletes connections that ended before the time for which they are kept, in steps that each hold few locks. */
export async function deleteConnections(pool: pg.Pool, retentionDays: number): Promise<number> {
  let deleted = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from connections where session_id in (
         select session_id from connections where ended_at < now() - $1 * interval '1 day' limit ${deletedPerStepMax})`,
      [retentionDays],
    );
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < deletedPerStepMax) return deleted;
  }
}

const deletedPerStepMax = 10_000;

function timestamp(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
