import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import type { Batch } from './batch-statements.ts';
import { int4Array, int8Array, timestamptzArray } from './binary-arrays.ts';
import type { ConflictingDuplicate } from './duplicate-comparison.ts';
import type { StreamKeys } from './keys.ts';

/** Newest conflicts that are kept for each stream. */
const newestConflictsMax = 5;

const milliseconds = (time: string) => `(extract(epoch from ${time}) * 1000)::int8`;
const newest = (conflicts: string) => `jsonb_path_query_array(${conflicts}, '$[0 to ${newestConflictsMax - 1}]')`;

/** Adds conflicts to the row of their stream, unless it was forgotten: how many there were, and the newest. A redelivered message adds them again. */
export function noteConflicts(
  { readings, streams }: Batch,
  conflicts: readonly ConflictingDuplicate[],
): pg.QueryConfig {
  const refused = conflicts.map(({ ordinal }) => readings[ordinal] as IdentifiedReading);
  return {
    name: 'note_conflicts',
    text: `
      with registered as (select stream_key from streams where stream_key = any($1::int4[]) order by stream_key for key share)
      insert into sequence_conflicts as known (stream_key, conflicting, newest)
      select c.stream_key, count(*), ${newest(`jsonb_agg(jsonb_build_object(
          'seq', c.seq, 'storedTs', ${milliseconds('c.stored_ts')}, 'refusedTs', ${milliseconds('c.ts')}, 'receivedAt', ${milliseconds('c.received_at')}
        ) order by c.received_at desc, c.seq desc)`)}
      from unnest($1::int4[], $2::int8[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) as c (stream_key, seq, stored_ts, ts, received_at) join registered using (stream_key)
      group by c.stream_key order by c.stream_key
      on conflict (stream_key) do update set conflicting = known.conflicting + excluded.conflicting, newest = ${newest('excluded.newest || known.newest')}`,
    values: [
      int4Array(conflicts.map(({ ordinal }) => (streams[ordinal] as StreamKeys).streamKey)),
      int8Array(refused.map(({ seq }) => seq)),
      timestamptzArray(conflicts.map(({ storedTs }) => storedTs)),
      timestamptzArray(refused.map(({ ts }) => ts)),
      timestamptzArray(refused.map(({ receivedAt }) => receivedAt)),
    ],
  };
}
