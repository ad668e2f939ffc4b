import { sql } from 'kysely';
import type pg from 'pg';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { readPositions } from '../positions/read-positions.ts';
import { eraseFinalTiles } from '../rollups/erase-final-tiles.ts';
import { beginChange } from '../rollups/horizon.ts';

/**
 * | State | Meaning | Followed by |
 * | --- | --- | --- |
 * | `running` | the first pass erases what is stored | `settling` |
 * | `settling` | further passes erase what was received before the request and is stored only now | `done` |
 * | `done` | nothing is looked for any more | |
 */
export const erasureStates = ['running', 'settling', 'done'] as const;
type ErasureState = (typeof erasureStates)[number];

/** A job that erases the readings of a device. Times are epoch milliseconds. */
export interface Erasure {
  readonly id: string;
  readonly state: ErasureState;
  readonly requestedBy: string;
  /** Readings received up to this time are erased. */
  readonly eraseBefore: number;
  readonly finishedAt: number | null;
  readonly readings: number;
  readonly deadLetters: number;
  /** Ids of dead letters of whole messages that name the device. They are not erased: a message may hold readings of other devices. */
  readonly deadLettersToReview: readonly string[];
}

/** Of the dead letters of whole messages, the newest are searched, up to this number and this many bytes. */
const searchedMax = 1_000;
const searchedBytesMax = 64 * 1024 * 1024;
const toReviewMax = 100;
/** Hours whose rollups are erased in one transaction. */
const tilesPerStep = 500;

/** The newest job of a device. */
export async function erasureOf(
  { db, pool }: Database,
  { deviceId, signal }: { readonly deviceId: string; readonly signal?: AbortSignal | undefined },
): Promise<Erasure | undefined> {
  const query = sql<Erasure>`
    select e.id, e.state, e.requested_by as "requestedBy", e.erase_before as "eraseBefore", e.finished_at as "finishedAt", e.readings,
      e.dead_letters as "deadLetters", array(
        select m.id from (
          select n.*, sum(octet_length(n.payload)) over (order by n.number desc) as bytes
          from (select id, number, payload from dead_letters where device_id is null order by number desc limit ${searchedMax}) as n
        ) as m
        where m.bytes <= ${searchedBytesMax} and position(convert_to(${`"${deviceId}"`}, 'UTF8') in m.payload) > 0
        order by m.number limit ${toReviewMax}
      ) as "deadLettersToReview"
    from (
      select e.* from device_erasures e join devices d using (device_key) where d.device_id = ${deviceId} order by e.number desc limit 1
    ) as e`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

export interface ErasureSteps {
  /** Rows deleted in one transaction. */
  readonly rowsMax: number;
  /** How long after the request readings that were still queued are erased, too; longer where edges have not reported that all are stored. */
  readonly settleMs: number;
  /** Time between two passes while settling. */
  readonly passPauseMs: number;
}

interface Job {
  readonly id: string;
  readonly device_key: number;
  readonly state: ErasureState;
  readonly erase_before: string;
  readonly erase_before_ms: number;
  readonly erased_in_pass: number;
  readonly is_settled: boolean;
}

interface Step {
  readonly id: string;
  /** Of the job after this step. */
  readonly state: ErasureState;
}

/**
 * Does one step of the oldest job that is due, in one transaction. Any number of processes may do so at the same time, and may be killed:
 * what a step has deleted and counted is committed together.
 * @returns undefined where no job is due
 */
export async function eraseStep(pool: pg.Pool, steps: ErasureSteps): Promise<Step | undefined> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query(beginChange);
    const { rows } = await client.query<Job>(
      `select id, device_key, state, erase_before::text as erase_before, (extract(epoch from erase_before) * 1000)::int8 as erase_before_ms, erased_in_pass,
         started_at + $1::float8 * interval '1 millisecond' <= now() as is_settled
       from device_erasures where state <> 'done' and next_pass_at <= now() order by number limit 1 for update skip locked`,
      [steps.settleMs],
    );
    const [job] = rows;
    const step = job && (await stepOf(client, job, steps));
    await client.query('commit');
    return step;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

async function stepOf(client: pg.PoolClient, job: Job, { rowsMax, passPauseMs }: ErasureSteps): Promise<Step> {
  const { id, state } = job;
  // Before looking for readings: what is stored by then is found.
  const isSettled = job.is_settled && (await isEverythingStored(client, job));
  const readings = await eraseReadings(client, job, rowsMax);
  const deadLetters = readings > 0 ? 0 : await eraseDeadLetters(client, job, rowsMax);
  const tiles = readings + deadLetters > 0 ? 0 : await eraseFinalTiles(client, job.device_key, tilesPerStep);
  if (readings + deadLetters + tiles > 0) {
    await client.query(
      `update device_erasures set readings = readings + $2, dead_letters = dead_letters + $3, erased_in_pass = erased_in_pass + $4 where id = $1`,
      [id, readings, deadLetters, readings + deadLetters + tiles],
    );
    return { id, state };
  }
  // The pass is over. Its last act, because a reading that was erased may have been written into the latest state during the pass.
  const isDirty = state === 'running' || job.erased_in_pass > 0;
  await client.query('delete from device_latest where device_key = $1 and ($2 or received_at <= $3::timestamptz)', [
    job.device_key,
    isDirty,
    job.erase_before,
  ]);
  await eraseConflicts(client, job, isDirty);
  await eraseEditedCopies(client, job);
  // Not done while a dead letter is replayed, also an edited copy: a reading may be on its way.
  const { rows } = await client.query<Step>(
    `update device_erasures e set erased_in_pass = 0, next_pass_at = now() + $2::float8 * interval '1 millisecond',
       (state, finished_at) = (
         select case when is_done then 'done' else 'settling' end, case when is_done then now() end
         from (select $3 and not exists (
           select from dead_letters l join devices d using (device_id) where d.device_key = e.device_key and l.status = 'replaying'
         ) and not exists (
           select from dead_letter_replays r join devices d on d.device_id = r.copy ->> 'deviceId'
           where d.device_key = e.device_key and r.created_at <= e.erase_before
         ) as is_done) as it
       )
     where id = $1 returning id, state`,
    [id, passPauseMs, isSettled],
  );
  return rows[0] ?? { id, state };
}

/** An edge may accept readings shortly before its first report, of which completeUntil does not know. */
const completeToleranceMs = 60_000;

/**
 * Whether everything that arrived before the request is stored, however long it was queued. Both completeUntil and the arrival of readings
 * are on the clocks of the edges, so a difference from the clock of Postgres does no harm. Without any edge, only time says so.
 */
async function isEverythingStored(client: pg.PoolClient, { erase_before_ms }: Job): Promise<boolean> {
  const { edgesKnown, completeUntil } = await readPositions(client);
  return edgesKnown === 0 || (completeUntil !== null && completeUntil >= erase_before_ms + completeToleranceMs);
}

/** They hold times of readings. Locks in the order of all writers. */
async function eraseConflicts(client: pg.PoolClient, job: Job, isDirty: boolean): Promise<void> {
  await client.query(
    `with locked as (
       select c.stream_key from sequence_conflicts c join streams s using (stream_key)
       where s.device_key = $1 and ($2 or (c.newest -> 0 ->> 'receivedAt')::int8 <= $3::int8) order by c.stream_key for update of c
     )
     delete from sequence_conflicts c using locked where c.stream_key = locked.stream_key`,
    [job.device_key, isDirty, job.erase_before_ms],
  );
}

/** The readings that operators have edited, unless they are still to be published: then a later pass erases them. */
async function eraseEditedCopies(client: pg.PoolClient, { device_key, erase_before }: Job): Promise<void> {
  await client.query(
    `update dead_letter_replays r set copy = null from devices d
     where d.device_key = $1 and r.copy ->> 'deviceId' = d.device_id and (
       (r.state in ('done', 'cancelled', 'dry-run') and r.created_at <= $2::timestamptz)
       or not exists (select from dead_letters l where r.selection -> 'ids' ? l.id))`,
    [device_key, erase_before],
  );
}

/** Counts the rows of each minute for reconciliation, as when a partition is dropped, and marks their tiles, so that they are built again immediately. */
async function eraseReadings(
  client: pg.PoolClient,
  { device_key, erase_before }: Job,
  rowsMax: number,
): Promise<number> {
  // One partition at a time: its rows are then found and deleted by their place.
  const { rows } = await client.query<{ partition: string }>(
    `select tableoid::regclass::text as partition from readings where device_key = $1 and received_at <= $2::timestamptz limit 1`,
    [device_key, erase_before],
  );
  const [found] = rows;
  if (found === undefined) return 0;
  const { rows: counted } = await client.query<{ erased: number }>(
    `with erased as (
       delete from ${found.partition} where ctid = any(array(
         select ctid from ${found.partition} where device_key = $1 and received_at <= $2::timestamptz limit ${rowsMax}))
       returning received_at, (floor(extract(epoch from ts) / 3600))::int4 as hour
     ), marked as (
       insert into rollup_marks as known (device_key, hour, marked_at)
       select distinct $1::int4, hour, '-infinity'::timestamptz from erased, rollup_state
       where hour >= final_until and hour < horizon order by 2
       on conflict (device_key, hour) do update set version = known.version + 1, marked_at = excluded.marked_at
     ), forgotten as (
       insert into books_forgotten as known (minute, readings)
       select (extract(epoch from date_trunc('minute', received_at)) / 60)::int4, count(*) from erased group by 1 order by 1
       on conflict (minute) do update set readings = known.readings + excluded.readings
     )
     select count(*) as erased from erased`,
    [device_key, erase_before],
  );
  return counted[0]?.erased ?? 0;
}

/** With their history: the edits of a dead letter hold parts of the reading. One that is being replayed has its turn once its outcome is known. */
async function eraseDeadLetters(
  client: pg.PoolClient,
  { device_key, erase_before }: Job,
  rowsMax: number,
): Promise<number> {
  const { rows } = await client.query<{ erased: number }>(
    `with chosen as (
       select l.id from dead_letters l join devices d using (device_id)
       where d.device_key = $1 and coalesce(l.received_at, l.created_at) <= $2::timestamptz and l.status <> 'replaying'
       order by l.id limit ${rowsMax} for update of l
     ), actions as (
       delete from dead_letter_actions a using chosen where a.dead_letter_id = chosen.id
     ), erased as (
       delete from dead_letters l using chosen where l.id = chosen.id returning l.id
     )
     select count(*) as erased from erased`,
    [device_key, erase_before],
  );
  return rows[0]?.erased ?? 0;
}
