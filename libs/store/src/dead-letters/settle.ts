import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { sequenceBlockSize } from '../sequence-blocks.ts';

export interface Settling {
  /** Published dead letters checked in this call. */
  readonly limit: number;
  /** After this long a message without an identity, which has not failed again, gets the outcome `unknown`. */
  readonly unknownAfterMs: number;
  readonly signal?: AbortSignal;
}

/** The longest pause between two checks of a message whose outcome is not known yet; it begins at 0.25 s and doubles. */
const checkPauseMaxSeconds = 60;

/**
 * Finds the outcome of dead letters that were published again, by the database's clock alone:
 *
 * | Outcome | When | Dead letter becomes | Counter of the replay |
 * | --- | --- | --- | --- |
 * | `stored` | the sequence ledger holds the identity | `stored` | `stored` |
 * | `failed-again` | it, or another dead letter of the identity, has arrived since | `open`, `repeated` + 1 | `failed_again` |
 * | `unknown` | it has no identity, and `unknownAfterMs` are over | `open` | `unknown` |
 * | none yet | otherwise | stays `replaying` | checked again later |
 *
 * A dead letter whose status an operator has changed since keeps it, unless it is stored now. A replay in state `settling` is `done` when
 * all that it published has an outcome. All of it is one statement, so that a crash leaves either everything counted or nothing.
 * @returns how many were checked, and how many of these have an outcome now
 */
export async function settleReplays(
  { pool, db }: Database,
  { limit, unknownAfterMs, signal }: Settling,
): Promise<{ checked: number; settled: number }> {
  const query = sql<{ checked: number; settled: number }>`
    with due as (
      select * from dead_letter_replay_items where outcome is null and check_after <= now()
      order by check_after limit ${limit} for update skip locked
    ), checked as (
      select i.replay_id, i.dead_letter_id, ${outcomeOf(unknownAfterMs)} as outcome from due i
    ), settled as (
      select * from checked where outcome is not null
    ), letters as (
      select dead_letter_id as id, bool_or(outcome = 'stored') as is_stored, count(*) filter (where outcome = 'failed-again') as failures
      from settled group by dead_letter_id
    ), locked as (
      -- In the order of all writers, so that none waits for another in a circle.
      select id from dead_letters where id in (select id from letters) order by id for update
    ), updated_items as (${updateItems}), updated_letters as (${updateLetters}), updated_replays as (${updateReplays})
    select (select count(*) from checked) as checked, (select count(*) from settled) as settled`;
  return (await fetchRows(pool, query.compile(db), signal))[0] ?? { checked: 0, settled: 0 };
}

/** The outcome of item `i`; null where it is not known yet. */
function outcomeOf(unknownAfterMs: number) {
  return sql`case
    when exists (
      select from devices v join streams s on s.device_key = v.device_key join sequence_blocks b on b.stream_key = s.stream_key
      where v.device_id = i.device_id and s.epoch = i.epoch and b.block = i.seq / ${sequenceBlockSize}::int8 and b.seen @> i.seq
    ) then 'stored'
    when exists (select from dead_letters d where d.id = i.dead_letter_id and d.last_arrived_at > i.offered_at)
      or exists (
        select from dead_letters d
        where d.device_id = i.device_id and d.epoch = i.epoch and d.seq = i.seq and d.last_arrived_at > i.offered_at
      ) then 'failed-again'
    when i.seq is null and i.offered_at < now() - ${unknownAfterMs}::float8 * interval '1 millisecond' then 'unknown'
  end`;
}

const updateItems = sql`
  update dead_letter_replay_items i set
    outcome = c.outcome,
    settled_at = case when c.outcome is not null then now() end,
    checks = i.checks + 1,
    check_after = now() + least(${checkPauseMaxSeconds}, power(2, least(i.checks, 10)) / 4) * interval '1 second'
  from checked c where i.replay_id = c.replay_id and i.dead_letter_id = c.dead_letter_id`;

/** Several replays may have published the same dead letter. */
const updateLetters = sql`
  update dead_letters d set
    status = case when l.is_stored then 'stored' when d.status = 'replaying' then 'open' else d.status end,
    changed_at = now(),
    repeated = d.repeated + l.failures
  from letters l join locked using (id) where d.id = l.id`;

const isComplete = sql`r.state = 'settling'
  and r.stored + o.stored + r.failed_again + o.failed_again + r.unknown + o.unknown >= r.published`;

const updateReplays = sql`
  update dead_letter_replays r set
    stored = r.stored + o.stored,
    failed_again = r.failed_again + o.failed_again,
    unknown = r.unknown + o.unknown,
    state = case when ${isComplete} then 'done' else r.state end,
    finished_at = case when ${isComplete} then now() else r.finished_at end
  from (
    select replay_id, count(*) filter (where outcome = 'stored') as stored,
      count(*) filter (where outcome = 'failed-again') as failed_again, count(*) filter (where outcome = 'unknown') as unknown
    from settled group by replay_id
  ) as o where r.id = o.replay_id`;
