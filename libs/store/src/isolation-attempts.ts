import type pg from 'pg';

/** One attempt to handle a suspect by itself. */
export interface IsolationAttempt {
  readonly messageId: string;
  /** A UUID of its own, so that asking twice, when an answer was lost, counts once. */
  readonly attemptId: string;
}

/**
 * Notes, committed, that a suspect is about to be handled: whatever handling it does to the process, the note stays until {@link endAttempt}.
 * Notes of messages that never came back are forgotten after 30 days.
 *
 * @returns how many earlier trials of it came to no end
 */
export async function beginAttempt(pool: pg.Pool, { messageId, attemptId }: IsolationAttempt): Promise<number> {
  const { rows } = await pool.query<{ earlier: number }>(
    `with forgotten as (delete from suspects where last_tried_at < now() - interval '30 days' and message_id <> $1)
     insert into suspects as known (message_id, unfinished_trials, last_trial) values ($1, 1, $2)
     on conflict (message_id) do update set
       unfinished_trials = known.unfinished_trials + (known.last_trial <> excluded.last_trial)::int4,
       last_trial = excluded.last_trial,
       last_tried_at = now()
     returning unfinished_trials - 1 as earlier`,
    [messageId, attemptId],
  );
  return rows[0]?.earlier ?? 0;
}

export async function endAttempt(pool: pg.Pool, { messageId }: IsolationAttempt): Promise<void> {
  await pool.query('delete from suspects where message_id = $1', [messageId]);
}
