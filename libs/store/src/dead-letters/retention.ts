import type pg from 'pg';

export interface DeadLetterRetention {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Days since it was stored or discarded; its history is deleted with it. */
  readonly settledDays: number;
  /** Days since an open one failed last. Without it, open ones are kept until an operator decides: each was acknowledged to its device. */
  readonly openDays?: number | undefined;
}

const dayMs = 24 * 60 * 60 * 1_000;
const rowsPerStatementMax = 5_000;

/**
 * Deletes dead letters past their retention, and the replays and actions of that age.
 * @returns how many dead letters were deleted
 */
export async function deleteExpiredDeadLetters(pool: pg.Pool, retention: DeadLetterRetention): Promise<number> {
  const { now, settledDays, openDays } = retention;
  const before = (days: number) => new Date(now - days * dayMs).toISOString();
  let deleted = await deleteInSteps(
    pool,
    'dead_letters',
    `status in ('stored', 'discarded') and changed_at < $1`,
    before(settledDays),
  );
  if (openDays !== undefined) {
    deleted += await deleteInSteps(pool, 'dead_letters', `status = 'open' and last_failed_at < $1`, before(openDays));
  }
  await deleteInSteps(
    pool,
    'dead_letter_replays',
    `state in ('done', 'cancelled', 'dry-run') and finished_at < $1`,
    before(settledDays),
  );
  await deleteInSteps(pool, 'dead_letter_actions', 'at < $1', before(settledDays));
  return deleted;
}

/** In small transactions, so that no other statement waits long for a row. */
async function deleteInSteps(pool: pg.Pool, table: string, condition: string, cutoff: string): Promise<number> {
  let deleted = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from ${table} where number in (select number from ${table} where ${condition} order by number limit ${rowsPerStatementMax})`,
      [cutoff],
    );
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < rowsPerStatementMax) return deleted;
  }
}
