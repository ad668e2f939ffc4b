import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { type DeadLetterStatus, type Selection, selected } from './selection.ts';

/** The decisions of operators, and the status of a dead letter before and after each. */
export const decisions = {
  discarded: { from: 'open', to: 'discarded' },
  restored: { from: 'discarded', to: 'open' },
} as const satisfies Record<string, { from: DeadLetterStatus; to: DeadLetterStatus }>;

export type Decision = keyof typeof decisions;

export interface Deciding {
  readonly selection: Selection;
  readonly decision: Decision;
  /** The subject of the operator's token. */
  readonly actor: string;
  readonly reason: string;
  /** Largest number of dead letters changed in this call. */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Changes the status of dead letters, each with an entry in the audit. Those that have another status than the decision expects are left
 * unchanged.
 * @returns how many were changed; fewer than `limit` when none are left
 */
export async function decideDeadLetters({ pool, db }: Database, deciding: Deciding): Promise<number> {
  const { selection, decision, actor, reason, limit, signal } = deciding;
  const { from, to } = decisions[decision];
  const query = sql<{ moved: number }>`
    with chosen as (
      select d.id from dead_letters d where ${selected(selection)} and d.status = ${from} order by d.id limit ${limit} for update
    ), moved as (
      update dead_letters d set status = ${to}, changed_at = now() from chosen where d.id = chosen.id returning d.id
    ), noted as (
      insert into dead_letter_actions (actor, action, dead_letter_id, details)
      select ${actor}, ${decision}, id, jsonb_build_object('reason', ${reason}::text) from moved
    )
    select count(*) as moved from moved`;
  return (await fetchRows(pool, query.compile(db), signal))[0]?.moved ?? 0;
}
