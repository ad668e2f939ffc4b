import type { PresenceChange } from '@fleetwire/contracts/presence-event';
import type { PoolClient } from 'pg';
import { readPositions } from '../positions/read-positions.ts';

/** A device is silent when nothing came for this many of its expected intervals, but for no less than {@link silentMsMin}. */
const silentIntervals = 3;
export const silentMsMin = 30_000;
/** A device without a connection is online for this many of its expected intervals after a reading, within these bounds. */
const sendingIntervals = 2;
const sendingMsMin = 30_000;
const sendingMsMax = 60 * 60 * 1_000;
/** The same for a device of which no interval is expected. */
const sendingMsDefault = 10 * 60 * 1_000;

/**
 * What readings say about presence, for the next devices after `after`: which are silent, and which send without a connection. Time is
 * `completeUntil`: a device whose readings are queued is not silent. Run by the owner of presence, in its transaction.
 *
 * Nothing is expected of a device without `expectedIntervalMs`, or that is not active: it is never stale.
 * @returns what was changed, and the last device that was looked at; undefined after the last device of all
 */
export async function writeSending(
  client: PoolClient,
  { after, devicesMax }: { readonly after: number; readonly devicesMax: number },
): Promise<{ readonly changes: readonly PresenceChange[]; readonly last: number | undefined }> {
  const { edgesKnown, completeUntil } = await readPositions(client);
  if (edgesKnown > 0 && completeUntil === null) return { changes: [], last: undefined };
  const { rows: slices } = await client.query<{ last: number | null }>(
    'select max(device_key) as last from (select device_key from devices where device_key > $1 order by device_key limit $2) as slice',
    [after, devicesMax],
  );
  const last = slices[0]?.last ?? undefined;
  if (last === undefined) return { changes: [], last };
  const { rows: changes } = await client.query<PresenceChange>(written, [
    after,
    last,
    completeUntil === null ? null : new Date(completeUntil).toISOString(),
  ]);
  return { changes, last };
}

const silentMs = `case when interval_ms is not null then greatest(${silentIntervals} * interval_ms, ${silentMsMin}) end`;
const sendingMs = `case when interval_ms is null then ${sendingMsDefault}
  else least(greatest(${sendingIntervals} * interval_ms, ${sendingMsMin}), ${sendingMsMax}) end`;

// A session that ended with a reason stays the last that is known until a reading is newer. Of a device that is shown by its readings, and
// has none any more (they were erased), the last one was long ago.
const written = `
  with seen as (
    select d.device_id, coalesce(p.sessions, 0) as sessions, p.status, p.reason, p.since,
      case when d.status = 'active' then d.expected_interval_ms end as interval_ms,
      greatest(l.received_at, case when p.reason in ('http', 'silent') then '-infinity' when p.sessions > 0 then p.since end) as at,
      coalesce($3::timestamptz, now()) as known_until
    from devices d
      left join device_latest l on l.device_key = d.device_key and l.device_key > $1 and l.device_key <= $2
      left join presence p using (device_id)
    where d.device_key > $1 and d.device_key <= $2
      and (p.sessions > 0 or p.reason in ('http', 'silent')
        or (l.received_at is not null and p.reason is distinct from 'reconnecting' and (p.since is null or l.received_at > p.since)))
  ), timed as materialized (
    select *, at + (${silentMs}) * interval '1 ms' as silent_at, at + (${sendingMs}) * interval '1 ms' as away_at from seen
  ), judged as materialized (
    select *, case
      when silent_at <= known_until and (sessions > 0 or away_at <= known_until) then 'stale'
      when sessions > 0 or away_at > known_until then 'online'
      else 'offline' end as becomes
    from timed
  ), becoming as (
    select *, case when becomes = 'stale' then 'silent' when sessions > 0 then 'connected' else 'http' end as because from judged
  )
  insert into presence as p (device_id, status, reason, since, sessions)
  select device_id, becomes, because,
    case when becomes = 'stale' then greatest(silent_at, since)
      when becomes = 'offline' then greatest(away_at, since)
      -- No reading, but nothing is expected of it any more.
      when at < since then now()
      else at end,
    sessions
  from becoming where (status, reason) is distinct from (becomes, because)
  on conflict (device_id) do update set status = excluded.status, reason = excluded.reason, since = excluded.since
  returning device_id as "deviceId", status, reason, since`;
