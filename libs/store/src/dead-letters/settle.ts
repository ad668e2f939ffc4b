import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { sequenceBlockSize } from '../sequence-blocks.ts';

export interface Settling {
  /** Published dead letters checked at in this call. */
  readonly limit: number;
  /** A message without an identity to look for, and of which nothing was heard for so long, is given up as `unknown`. */
  readonly unknownAfterMs: number;
  readonly signal?: AbortSignal;
}

/** The longest pause between two looks at one that is still on its way. */
const checkPauseMaxSeconds = 60;

/**
 * Finds out what became of dead letters that were published again. Stored is what the ledger of identities holds; failed again is what
 * has arrived as a dead letter since, the same or another one of the same identity. Both are by the database's clock alone.
 * @returns how many were checked at, and of how many the outcome is known now
 */
export async function settleReplays(
  { pool, db }: Database,
  { limit, unknownAfterMs, signal }: Settling,
): Promise<{ checked: number; settled: number }> {
  const query = sql<{ checked: number; settled: number }>`
    with due as (
      select * from dead_letter_replay_items where outcome is null and check_after <= now()
      order by check_after limit ${limit} for update skip locked
    ), judged as (
      select i.replay_id, i.dead_letter_id, case
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
      end as outcome
      from due i
    ), noted as (
      update dead_letter_replay_items i set
        outcome = j.outcome,
        settled_at = case when j.outcome is not null then now() end,
        checks = i.checks + 1,
        check_after = now() + least(${checkPauseMaxSeconds}, power(2, least(i.checks, 10)) / 4) * interval '1 second'
      from judged j where i.replay_id = j.replay_id and i.dead_letter_id = j.dead_letter_id
    ), outcomes as (
      select dead_letter_id as id, bool_or(outcome = 'stored') as is_stored, count(*) filter (where outcome = 'failed-again') as failures
      from judged where outcome is not null group by dead_letter_id
    ), locked as (
      select d.id from dead_letters d where d.id in (select id from outcomes) order by d.id for update
    ), marked as (
      update dead_letters d set
        status = case when o.is_stored then 'stored' when d.status = 'replaying' then 'open' else d.status end,
        changed_at = now(),
        repeated = d.repeated + o.failures
      from outcomes o join locked on locked.id = o.id where d.id = o.id
    ), sums as (
      select replay_id, count(*) filter (where outcome = 'stored') as stored,
        count(*) filter (where outcome = 'failed-again') as failed_again, count(*) filter (where outcome = 'unknown') as unknown
      from judged where outcome is not null group by replay_id
    ), counted as (
      update dead_letter_replays r set
        stored = r.stored + s.stored, failed_again = r.failed_again + s.failed_again, unknown = r.unknown + s.unknown,
        state = case when ${isComplete} then 'done' else r.state end,
        finished_at = case when ${isComplete} then now() else r.finished_at end
      from sums s where r.id = s.replay_id
    )
    select count(*) as checked, count(outcome) as settled from judged`;
  return (await fetchRows(pool, query.compile(db), signal))[0] ?? { checked: 0, settled: 0 };
}

const isComplete = sql`r.state = 'settling'
  and r.stored + s.stored + r.failed_again + s.failed_again + r.unknown + s.unknown >= r.published`;
