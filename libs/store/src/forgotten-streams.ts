import type pg from 'pg';
import { existingPeriods, retentionCutoff } from './partitions.ts';

const dayMs = 24 * 60 * 60 * 1_000;
/** A reading is at most a day ahead of its arrival; the other days are for clocks that differ. */
const marginDays = 7;
const streamsPerStatement = 10_000;

/**
 * Deletes streams with their blocks of the sequence ledger once each reading that they can name has been dropped by retention. A reading
 * that is still stored is therefore never stored again. Streams of dead letters are kept: a replay reads its outcome from the ledger.
 * @returns how many were deleted
 */
export async function forgetStreams(
  pool: pg.Pool,
  { now, retentionDays }: { readonly now: number; readonly retentionDays: number },
): Promise<number> {
  // A partition holds readings past retention until the newest of them is, too.
  const oldest = (await existingPeriods(pool))[0]?.from ?? now;
  const keptFrom = Math.min(oldest, retentionCutoff(now, retentionDays));
  const writtenBefore = new Date(keptFrom - marginDays * dayMs).toISOString().slice(0, 10);
  let forgotten = 0;
  for (let last: number | null = 0; last !== null;) {
    const found: { last: number | null; keys: number[] } = await silentStreams(pool, last, writtenBefore);
    if (found.keys.length > 0) forgotten += await deleteStreams(pool, found.keys, writtenBefore);
    ({ last } = found);
  }
  return forgotten;
}

/** Of the next streams by key, those in which nothing was stored since. The newest block, which is looked at first, decides for most. */
async function silentStreams(
  pool: pg.Pool,
  last: number,
  writtenBefore: string,
): Promise<{ last: number | null; keys: number[] }> {
  const { rows } = await pool.query<{ last: number | null; keys: number[] | null }>(
    `with next as materialized (select * from streams where stream_key > $1 order by stream_key limit ${streamsPerStatement})
     select max(n.stream_key) as last, array_agg(n.stream_key order by n.stream_key) filter (where
       n.first_seen_at < $2::date
       and case when coalesce((
           select b.written_on from sequence_blocks b where b.stream_key = n.stream_key order by b.block desc limit 1
         ) < $2::date, true)
         then not exists (select from sequence_blocks b where b.stream_key = n.stream_key and b.written_on >= $2::date)
           and not exists (
             select from dead_letters l join devices d on d.device_id = l.device_id
             where d.device_key = n.device_key and l.epoch = n.epoch)
         else false end) as keys
     from next n`,
    [last, writtenBefore],
  );
  return { last: rows[0]?.last ?? null, keys: rows[0]?.keys ?? [] };
}

/** A writer may store in one of them at the same moment: such a stream stays. */
async function deleteStreams(pool: pg.Pool, keys: readonly number[], writtenBefore: string): Promise<number> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('begin');
    const { rows } = await client.query<{ stream_key: number }>(
      'select stream_key from streams where stream_key = any($1) order by stream_key for update skip locked',
      [keys],
    );
    const locked = rows.map((row) => row.stream_key);
    await client.query('delete from sequence_blocks where stream_key = any($1) and written_on < $2', [
      locked,
      writtenBefore,
    ]);
    const { rowCount } = await client.query(
      `delete from streams s where s.stream_key = any($1)
       and not exists (select from sequence_blocks b where b.stream_key = s.stream_key)`,
      [locked],
    );
    await client.query('commit');
    return rowCount ?? 0;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}
