import { sql } from 'kysely';
import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { headersOf } from './browse.ts';
import type { Replay } from './replays.ts';
import { selected } from './selection.ts';

// What a runner does with the job whose lease it holds. When a lease is not renewed, it expires, and another runner continues from
// `position`.

export interface Lease {
  readonly replayId: string;
  readonly runner: string;
  readonly leaseMs: number;
}

/** A dead letter about to be published. */
export interface Offered {
  readonly id: string;
  readonly number: number;
  readonly reason: DeadLetterReason;
  readonly deviceId: string | null;
  readonly epoch: string | null;
  readonly seq: number | null;
  /** Epoch milliseconds. */
  readonly receivedAt: number | null;
  readonly createdAt: number;
  readonly payload: Buffer;
  readonly payloadEncoding: 'json' | 'base64';
  readonly headers: Readonly<Record<string, unknown>>;
  /** By the database's clock, to the microsecond: failures that arrive later are failures of this replay. */
  readonly offeredAt: string;
}

/** What was published for a dead letter: the identity under which it will be stored, where it has one. */
export interface PublishedItem {
  readonly deadLetterId: string;
  readonly offeredAt: string;
  readonly identity: { readonly deviceId: string; readonly epoch: string; readonly seq: number } | undefined;
}

/** Takes the oldest job that no runner holds. @returns its id */
export async function takeReplay(
  { pool, db }: Database,
  { runner, leaseMs, signal }: Pick<Lease, 'runner' | 'leaseMs'> & { readonly signal?: AbortSignal },
): Promise<string | undefined> {
  const query = sql<{ id: string }>`
    update dead_letter_replays set state = 'running', leased_by = ${runner}, leased_until = ${fromNow(leaseMs)}
    where id = (
      select id from dead_letter_replays
      where state in ('queued', 'running') and (leased_until is null or leased_until < now() or leased_by = ${runner})
      order by number limit 1 for update skip locked
    )
    returning id`;
  return (await fetchRows(pool, query.compile(db), signal))[0]?.id;
}

/** @returns false when the job was cancelled, or taken by another runner */
export async function renewLease(
  { pool, db }: Database,
  { replayId, runner, leaseMs }: Lease,
  signal?: AbortSignal,
): Promise<boolean> {
  const query = sql`
    update dead_letter_replays set leased_until = ${fromNow(leaseMs)}
    where id = ${replayId} and leased_by = ${runner} and state = 'running' returning id`;
  return (await fetchRows(pool, query.compile(db), signal)).length > 0;
}

/** Lets another runner take the job immediately. */
export async function releaseReplay({ pool, db }: Database, { replayId, runner }: Lease): Promise<void> {
  const query = sql`
    update dead_letter_replays set leased_by = null, leased_until = null where id = ${replayId} and leased_by = ${runner}`;
  await fetchRows(pool, query.compile(db), undefined);
}

/** The next dead letters of a job, in the order of their arrival. */
export async function nextOfReplay(
  { pool, db }: Database,
  { replay, limit, signal }: { readonly replay: Replay; readonly limit: number; readonly signal?: AbortSignal },
): Promise<Offered[]> {
  const query = sql<Omit<Offered, 'headers'> & { readonly headers: string | null }>`
    select d.id, d.number, d.reason, d.device_id as "deviceId", d.epoch, d.seq, d.received_at as "receivedAt",
      d.created_at as "createdAt", d.payload, d.payload_encoding as "payloadEncoding", d.headers, now()::text as "offeredAt"
    from dead_letters d
    where d.number > ${replay.position} and d.number <= (select number_max from dead_letter_replays where id = ${replay.id})
      and ${selected(replay.selection)}
    order by d.number limit ${limit}`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return rows.map((row) => ({ ...row, headers: headersOf(row.headers) }));
}

/**
 * Records what the broker has confirmed and the position of the job, and renews the lease. A dead letter that several runners have
 * published for the same replay counts once.
 * @returns the job; undefined when it is no longer this runner's
 */
export async function recordPublished(
  { pool, db }: Database,
  lease: Lease,
  { items, position }: { readonly items: readonly PublishedItem[]; readonly position: number },
): Promise<Pick<Replay, 'position' | 'published'> | undefined> {
  const isHeld = sql`r.leased_by = ${lease.runner} and r.state = 'running'`;
  const query = sql<{ position: number; published: number; isHeld: boolean }>`
    with offered as (
      select * from unnest(
        ${items.map(({ deadLetterId }) => deadLetterId)}::text[], ${items.map(({ offeredAt }) => offeredAt)}::timestamptz[],
        ${items.map(({ identity }) => identity?.deviceId ?? null)}::text[],
        ${items.map(({ identity }) => identity?.epoch ?? null)}::text[],
        ${items.map(({ identity }) => identity?.seq ?? null)}::int8[]
      ) as o (id, offered_at, device_id, epoch, seq)
    ), locked as (
      -- In the order of all writers, so that none waits for another in a circle.
      select d.id from dead_letters d where d.id in (select id from offered) order by d.id for update
    ), added as (
      insert into dead_letter_replay_items (replay_id, dead_letter_id, device_id, epoch, seq, offered_at)
      select ${lease.replayId}, o.id, o.device_id, o.epoch, o.seq, o.offered_at from offered o join locked on locked.id = o.id
      on conflict do nothing
      returning dead_letter_id as id
    ), marked as (
      update dead_letters d set
        status = case when d.status = 'discarded' then d.status else 'replaying' end,
        changed_at = now(),
        replays = d.replays + 1,
        automatic_replays = d.automatic_replays + (r.source = 'automatic')::int4
      from added, dead_letter_replays r where d.id = added.id and r.id = ${lease.replayId}
    )
    update dead_letter_replays r set
      position = greatest(r.position, ${position}),
      published = r.published + (select count(*) from added),
      leased_until = case when ${isHeld} then ${fromNow(lease.leaseMs)} else r.leased_until end
    where r.id = ${lease.replayId}
    returning r.position, r.published, ${isHeld} as "isHeld"`;
  const [row] = await fetchRows(pool, query.compile(db), undefined);
  return row?.isHeld === true ? row : undefined;
}

/** Everything is published; the replay is done once all outcomes are known. */
export async function finishPublishing({ pool, db }: Database, { replayId, runner }: Lease): Promise<void> {
  const query = sql`
    update dead_letter_replays set
      state = case when stored + failed_again + unknown >= published then 'done' else 'settling' end,
      finished_at = case when stored + failed_again + unknown >= published then now() end,
      leased_by = null, leased_until = null
    where id = ${replayId} and leased_by = ${runner} and state = 'running'`;
  await fetchRows(pool, query.compile(db), undefined);
}

function fromNow(milliseconds: number) {
  return sql`now() + ${milliseconds}::float8 * interval '1 millisecond'`;
}
