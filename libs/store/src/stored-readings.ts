import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';
import { sequenceBlockSize } from './sequence-blocks.ts';

/** Consecutive numbers of a stream. */
export interface NumberRun {
  readonly deviceId: string;
  readonly epoch: string;
  readonly first: number;
  readonly last: number;
}

/** What became of them. Numbers in neither list are in flight, or were never received. */
export interface StoredRun {
  /** First and last number of each range that is in the sequence ledger. */
  readonly stored: [first: number, last: number][];
  /** The newest dead letter of each number that is not stored. */
  readonly dead: { seq: number; reason: string; message: string; deadLetterId: string }[];
}

/** Of a dead letter's message. */
const messageCharactersMax = 300;

/** One snapshot, in the order of the runs. */
export function storedOf(
  { db, pool }: Database,
  { runs, signal }: { readonly runs: readonly NumberRun[]; readonly signal?: AbortSignal | undefined },
): Promise<StoredRun[]> {
  const query = sql<StoredRun>`
    select
      coalesce((
        select json_agg(json_build_array(greatest(lower(r.range), a.first), least(upper(r.range) - 1, a.last)) order by lower(r.range))
        from sequence_blocks b cross join unnest(b.seen) as r (range)
        where b.stream_key = s.stream_key and b.block between a.first / ${sql.lit(sequenceBlockSize)} and a.last / ${sql.lit(sequenceBlockSize)}
          and upper(r.range) > a.first and lower(r.range) <= a.last
      ), '[]') as stored,
      coalesce((
        select json_agg(json_build_object('seq', l.seq, 'reason', l.reason, 'message', left(l.error_message, ${sql.lit(messageCharactersMax)}), 'deadLetterId', l.id) order by l.seq)
        from (
          select distinct on (seq) seq, reason, error_message, id from dead_letters
          where device_id = a.device_id and epoch = a.epoch and seq between a.first and a.last
          order by seq, last_failed_at desc
        ) as l
        where not exists (
          select from sequence_blocks b where b.stream_key = s.stream_key and b.block = l.seq / ${sql.lit(sequenceBlockSize)} and b.seen @> l.seq
        )
      ), '[]') as dead
    from unnest(
      ${runs.map(({ deviceId }) => deviceId)}::text[], ${runs.map(({ epoch }) => epoch)}::text[],
      ${runs.map(({ first }) => first)}::int8[], ${runs.map(({ last }) => last)}::int8[]
    ) with ordinality as a (device_id, epoch, first, last, place)
    left join devices d on d.device_id = a.device_id
    left join streams s on s.device_key = d.device_key and s.epoch = a.epoch
    order by a.place`;
  return fetchRows(pool, query.compile(db), signal);
}
