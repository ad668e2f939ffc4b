import type pg from 'pg';

/** One attempt to handle a possible poison message alone. */
export interface IsolationAttempt {
  readonly messageId: string;
  /** A UUID: an attempt that is recorded again, because the answer was lost, counts once. */
  readonly attemptId: string;
}

interface AttemptToBegin extends IsolationAttempt {
  /** Postgres was unavailable before this attempt could be recorded. */
  readonly wasUnavailable?: boolean;
}

/**
 * Records, and commits, that a possible poison message is about to be handled. If handling it crashes the process, the record stays;
 * otherwise {@link endAttempt} deletes it. Records of messages that were never delivered again are deleted after 30 days.
 *
 * An earlier attempt does not count if Postgres was unavailable since: the worker was then waiting for Postgres, so it did not crash because of the
 * message. It is seen when Postgres was unavailable until this call, or was started after that attempt.
 *
 * @returns how many earlier attempts at this message did not end
 */
export async function beginAttempt(
  pool: pg.Pool,
  { messageId, attemptId, wasUnavailable = false }: AttemptToBegin,
): Promise<number> {
  const { rows } = await pool.query<{ earlier: number }>(
    `with expired as (delete from suspects where last_tried_at < now() - interval '30 days' and message_id <> $1)
     insert into suspects as known (message_id, unfinished_trials, last_trial) values ($1, 1, $2)
     on conflict (message_id) do update set
       unfinished_trials = known.unfinished_trials
         + (known.last_trial <> excluded.last_trial and not $3 and known.last_tried_at >= pg_postmaster_start_time())::int4,
       last_trial = excluded.last_trial,
       last_tried_at = now()
     returning unfinished_trials - 1 as earlier`,
    [messageId, attemptId, wasUnavailable],
  );
  return rows[0]?.earlier ?? 0;
}

export async function endAttempt(pool: pg.Pool, { messageId }: IsolationAttempt): Promise<void> {
  await pool.query('delete from suspects where message_id = $1', [messageId]);
}
