import type pg from 'pg';

export interface DeadLetterRetention {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Since it was stored or discarded; what was done is forgotten with it. */
  readonly settledDays: number;
  /** Since an open one failed last. Without it they are kept until somebody decides: each is a reading that was acknowledged. */
  readonly openDays?: number | undefined;
}

const dayMs = 24 * 60 * 60 * 1_000;
const rowsPerStatementMax = 5_000;

/**
 * Forgets dead letters past their retention, and the replays and actions of that age.
 * @returns how many dead letters
 */
export async function forgetDeadLetters(pool: pg.Pool, retention: DeadLetterRetention): Promise<number> {
  const { now, settledDays, openDays } = retention;
  const before = (days: number) => new Date(now - days * dayMs).toISOString();
  let forgotten = await deleteInSteps(
    pool,
    'dead_letters',
    `status in ('stored', 'discarded') and changed_at < $1`,
    before(settledDays),
  );
  if (openDays !== undefined) {
    forgotten += await deleteInSteps(pool, 'dead_letters', `status = 'open' and last_failed_at < $1`, before(openDays));
  }
  await deleteInSteps(
    pool,
    'dead_letter_replays',
    `state in ('done', 'cancelled', 'dry-run') and finished_at < $1`,
    before(settledDays),
  );
  await deleteInSteps(pool, 'dead_letter_actions', 'at < $1', before(settledDays));
  return forgotten;
}

/** In small transactions, so that nobody waits long for a row. */
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
