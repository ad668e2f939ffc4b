import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** One queue at one moment. What was not known is null. */
export interface StoredQueueSample {
  readonly queue: string;
  readonly ready: number;
  readonly unacked: number | null;
  readonly readings: number | null;
  readonly inRate: number | null;
  readonly outRate: number | null;
  readonly oldestSeconds: number | null;
}

/** Of the samples of an interval: the largest depth and age, the mean rates. `at` is its begin, in epoch milliseconds. */
export interface QueueInterval extends StoredQueueSample {
  readonly at: number;
}

interface Signal {
  readonly signal?: AbortSignal | undefined;
}

export const queueSampleMs = 15_000;
const keptHours = 25;

/** @returns whether the samples of this moment were entered by this call: of several instances only one enters them */
export async function insertQueueSamples(
  { db, pool }: Database,
  { at, samples, signal }: Signal & { readonly at: number; readonly samples: readonly StoredQueueSample[] },
): Promise<boolean> {
  const query = sql`
    with expired as (delete from queue_samples where at < now() - ${sql.lit(keptHours)} * interval '1 hour')
    insert into queue_samples (at, queue, ready, unacked, readings, in_rate, out_rate, oldest_seconds)
    select ${new Date(at).toISOString()}::timestamptz, s.queue, s.ready, s.unacked, s.readings, s."inRate", s."outRate", s."oldestSeconds"
    from jsonb_to_recordset(${JSON.stringify(samples)}::jsonb)
      as s (queue text, ready int8, unacked int8, readings int8, "inRate" float8, "outRate" float8, "oldestSeconds" float8)
    on conflict do nothing
    returning 1`;
  return (await fetchRows(pool, query.compile(db), signal)).length > 0;
}

/** By queue and time. Intervals without a sample are left out. */
export async function readQueueHistory(
  { db, pool }: Database,
  {
    from,
    to,
    intervalMs,
    signal,
  }: Signal & { readonly from: number; readonly to: number; readonly intervalMs: number },
): Promise<QueueInterval[]> {
  const begin = sql`date_bin(${`${intervalMs} ms`}::interval, at, 'epoch')`;
  const query = sql<QueueInterval>`
    select queue, ${begin} as at, max(ready) as ready, max(unacked) as unacked, max(readings) as readings,
      avg(in_rate) as "inRate", avg(out_rate) as "outRate", max(oldest_seconds) as "oldestSeconds"
    from queue_samples where at >= ${new Date(from).toISOString()} and at < ${new Date(to).toISOString()}
    group by queue, 2 order by queue, 2`;
  return fetchRows(pool, query.compile(db), signal);
}
