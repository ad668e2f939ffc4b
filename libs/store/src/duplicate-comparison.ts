import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { type Batch, rowColumns } from './batch-statements.ts';
import { int4Array } from './binary-arrays.ts';
import type { StreamKeys } from './keys.ts';

/** A duplicate whose content differs from what is stored: its ordinal in the batch, and the device time of the stored reading. */
export interface ConflictingDuplicate {
  readonly ordinal: number;
  readonly storedTs: number;
}

/** Duplicates of a batch that are compared first, spread over it; only if one of them differs, more are compared. */
const sampledReadingsMax = 64;
/** Duplicates of a batch that are compared at most. */
const comparedReadingsMax = 2_000;
/** Streams of a batch in which readings are searched that are stored with another device time. */
const searchedStreamsMax = 4;
/** Rows that one such search reads. */
const searchedRowsMax = 2_000;
/** Rows of a device with one device time that are read to find a reading. */
const rowsOfOneTimeMax = 64;

/**
 * Finds duplicates whose content differs from the stored reading of their identity. A reading whose row is not found (past retention, erased, or
 * beyond the bounds above) is not reported, so that a resend storm costs little.
 * @param client in the transaction of the batch after its insert, so that readings that occur twice in the batch are compared too; or in none
 */
export async function findConflicts(
  client: pg.PoolClient,
  batch: Batch,
  duplicates: readonly number[],
): Promise<ConflictingDuplicate[]> {
  const sample = spread(duplicates, sampledReadingsMax);
  const found = await compareAtSameTime(client, batch, sample);
  const all = found.length === 0 ? sample : spread(duplicates, comparedReadingsMax);
  const different = all.length === sample.length ? found : await compareAtSameTime(client, batch, all);
  const conflicts = different.filter(({ isStored }) => isStored);
  const absent = different.filter(({ isStored }) => !isStored);
  const moved = await Promise.all(
    absentByStream(batch, absent)
      .slice(0, searchedStreamsMax)
      .map((ordinals) => searchAtOtherTimes(client, batch, ordinals)),
  );
  return [
    ...conflicts.map(({ ordinal }) => ({ ordinal, storedTs: (batch.readings[ordinal] as IdentifiedReading).ts })),
    ...moved.flat(),
  ];
}

/** At most `max` of them, evenly spread. */
function spread(ordinals: readonly number[], max: number): readonly number[] {
  if (ordinals.length <= max) return ordinals;
  return Array.from({ length: max }, (_, index) => ordinals[Math.floor((index * ordinals.length) / max)] as number);
}

interface Different {
  readonly ordinal: number;
  /** Whether there is a row of the identity with the same device time. */
  readonly isStored: boolean;
}

/**
 * Numbers in one layout are compared bit by bit. Numbers of a reading without a shape are JSON, in which -0 is 0. A duplicate that Postgres could not
 * store differs from what is stored, and must not make it refuse the batch.
 */
async function compareAtSameTime(
  client: pg.PoolClient,
  batch: Batch,
  ordinals: readonly number[],
): Promise<readonly Different[]> {
  const times = ordinals.map((ordinal) => (batch.readings[ordinal] as IdentifiedReading).ts);
  const { rows } = await client.query<Different>({
    name: 'compare_duplicates',
    text: `
      with offered as materialized (
        select o.ordinal, o.ts, o.seq, o.device_key, o.stream_key, o.shape_key, ($9::float8[])[o.first:o.last] as numbers, o.others::jsonb as others
        from unnest($1::timestamptz[], $2::timestamptz[], $3::int8[], $4::int4[], $5::int4[], $6::int2[], $7::int4[], $8::int4[], $10::text[], $11::int4[])
          as o (ts, received_at, seq, device_key, stream_key, shape_key, first, last, others, ordinal)
      )
      select o.ordinal, stored.is_same is not null as "isStored"
      from offered o left join lateral (
        select case
          when near.shape_key = o.shape_key
            then array_send(near.numbers) = array_send(o.numbers) and near.others is not distinct from o.others
          when o.shape_key = 0
            then (select is_same_as_json(s.names, near.numbers, near.others, o.others) from shapes s where s.shape_key = near.shape_key)
          when near.shape_key = 0
            then (select is_same_as_json(s.names, o.numbers, o.others, near.others) from shapes s where s.shape_key = o.shape_key)
          else false
        end as is_same
        from (
          select r.stream_key, r.seq, r.shape_key, r.numbers, r.others from readings r
          where r.device_key = o.device_key and r.ts = o.ts and r.ts between $12 and $13 limit ${rowsOfOneTimeMax}
        ) as near
        where near.stream_key = o.stream_key and near.seq = o.seq limit 1
      ) as stored on true
      where stored.is_same is not true`,
    values: [
      ...rowColumns(batch, ordinals, comparableJson),
      int4Array(ordinals),
      // Names the partitions to read.
      new Date(Math.min(...times)).toISOString(),
      new Date(Math.max(...times)).toISOString(),
    ],
  });
  return rows;
}

/** jsonb refuses NUL and half a surrogate pair; `JSON.stringify` writes both as escapes. No reading has a metric without a name. */
function comparableJson(others: string): string {
  return /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(others) ? '{"":"cannot be stored"}' : others;
}

function absentByStream({ streams }: Batch, absent: readonly Different[]): number[][] {
  const byStream = new Map<number, number[]>();
  for (const { ordinal } of absent) {
    const { streamKey } = streams[ordinal] as StreamKeys;
    const ordinals = byStream.get(streamKey);
    if (ordinals === undefined) byStream.set(streamKey, [ordinal]);
    else ordinals.push(ordinal);
  }
  return [...byStream.values()];
}

/** Reads the rows between the positions of the lowest and of the highest number in their stream. */
async function searchAtOtherTimes(
  client: pg.PoolClient,
  { readings, streams }: Batch,
  ordinals: readonly number[],
): Promise<ConflictingDuplicate[]> {
  const { deviceKey, streamKey } = streams[ordinals[0] as number] as StreamKeys;
  const seqs = ordinals.map((ordinal) => (readings[ordinal] as IdentifiedReading).seq);
  const { rows } = await client.query<{ seq: number; ts: number }>({
    name: 'search_duplicates',
    text: `
      select near.seq, near.ts
      from stream_position($1, $2, $3) as first cross join stream_position($1, $2, $4) as last cross join lateral (
        select r.seq, r.ts, r.stream_key from readings r
        where r.device_key = $1 and r.ts between first.low and last.high order by r.ts limit ${searchedRowsMax}
      ) as near
      where near.stream_key = $2 and near.seq between $3 and $4`,
    values: [deviceKey, streamKey, Math.min(...seqs), Math.max(...seqs)],
  });
  const stored = new Map(rows.map(({ seq, ts }) => [seq, ts]));
  return ordinals.flatMap((ordinal) => {
    const { seq, ts } = readings[ordinal] as IdentifiedReading;
    const storedTs = stored.get(seq);
    return storedTs === undefined || storedTs === ts ? [] : [{ ordinal, storedTs }];
  });
}
