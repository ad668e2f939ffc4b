import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { float8Array, int2Array, int4Array, int8Array, textArray, timestamptzArray } from './binary-arrays.ts';
import type { StreamKeys } from './keys.ts';
import { latestChanges } from './latest.ts';
import type { OfferedBlocks } from './sequence-blocks.ts';
import type { Shape } from './shapes.ts';

// The statements of a batch, prepared once for each connection. `unnest` returns rows in the order of its arrays, and Postgres inserts
// and locks them in that order.

export interface Batch {
  readonly readings: readonly IdentifiedReading[];
  readonly streams: readonly StreamKeys[];
  readonly shapes: readonly Shape[];
}

export interface MarkedRow {
  readonly stream_key: number;
  readonly block: number;
  readonly newly_stored: string;
}

/**
 * Enters the batch in the sequence ledger, and returns what was not there before. It also locks these rows, in the same order in all
 * writers: of two writers with the same identities the second waits, and then sees what the first has stored. Only `returning` reads
 * the column `newly_stored`.
 */
export function markBlocks({ blocks }: OfferedBlocks): pg.QueryConfig {
  return {
    name: 'mark_blocks',
    text: `
      insert into sequence_blocks as stored (stream_key, block, seen, newly_stored)
      select o.stream_key, o.block, o.ranges::int8multirange, o.ranges::int8multirange
      from unnest($1::int4[], $2::int8[], $3::text[]) as o (stream_key, block, ranges)
      on conflict (stream_key, block) do update set
        seen = stored.seen + excluded.seen, newly_stored = excluded.seen - stored.seen, written_on = current_date
      returning stream_key, block, newly_stored`,
    values: [
      int4Array(blocks.map(({ streamKey }) => streamKey)),
      int8Array(blocks.map(({ block }) => block)),
      textArray(blocks.map(({ ranges }) => ranges)),
    ],
  };
}

/** In one line: Postgres writes it to its log with every batch that it refuses. */
const insertReadingsText = `
  insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers, others)
  select n.ts, n.received_at, n.seq, n.device_key, n.stream_key, n.shape_key, ($9::float8[])[n.first:n.last], n.others::jsonb
  from unnest($1::timestamptz[], $2::timestamptz[], $3::int8[], $4::int4[], $5::int4[], $6::int2[], $7::int4[], $8::int4[], $10::text[])
  as n (ts, received_at, seq, device_key, stream_key, shape_key, first, last, others)`
  .replaceAll(/\s+/g, ' ')
  .trim();

export function insertReadings(batch: Batch, ordinals: readonly number[]): pg.QueryConfig {
  return { name: 'insert_readings', text: insertReadingsText, values: rowColumns(batch, ordinals) };
}

/** Rows of `readings` as arrays: ts, received_at, seq, device_key, stream_key, shape_key, first, last (positions in the numbers), numbers, others. */
export function rowColumns(
  { readings, streams, shapes }: Batch,
  ordinals: readonly number[],
  othersOf: (json: string) => string = (json) => json,
): Buffer[] {
  const rows = ordinals.map((ordinal) => readings[ordinal] as IdentifiedReading);
  const rowStreams = ordinals.map((ordinal) => streams[ordinal] as StreamKeys);
  const rowShapes = ordinals.map((ordinal) => shapes[ordinal] as Shape);
  // The numbers of all rows are in one array; each row holds the positions of its first and its last.
  const numbers: number[] = [];
  const ends: number[] = [];
  const others: (string | null)[] = [];
  for (const [index, { metrics }] of rows.entries()) {
    const { names } = rowShapes[index] as Shape;
    for (const name of names) numbers.push(metrics[name] as number);
    ends.push(numbers.length);
    const json = nonNumericMetrics(names, metrics);
    others.push(json === null ? null : othersOf(json));
  }
  return [
    timestamptzArray(rows.map(({ ts }) => ts)),
    timestamptzArray(rows.map(({ receivedAt }) => receivedAt)),
    int8Array(rows.map(({ seq }) => seq)),
    int4Array(rowStreams.map(({ deviceKey }) => deviceKey)),
    int4Array(rowStreams.map(({ streamKey }) => streamKey)),
    int2Array(rowShapes.map(({ key }) => key)),
    int4Array([1, ...ends.slice(0, -1).map((end) => end + 1)]),
    int4Array(ends),
    float8Array(numbers),
    textArray(others),
  ];
}

/** The metrics that are not in the shape, as JSON: those that are not numbers, or all where the reading has the shape without names. */
function nonNumericMetrics(names: readonly string[], metrics: IdentifiedReading['metrics']): string | null {
  let others: Record<string, unknown> | undefined;
  for (const name in metrics) {
    if (names.length > 0 && typeof metrics[name] === 'number') continue;
    others ??= {};
    others[name] = metrics[name];
  }
  return others === undefined ? null : JSON.stringify(others);
}

/** Stands for a missing time, because binary arrays have no nulls here; readings are younger (`timestampMinMs`). */
const noTime = 0;

/**
 * Usually everything that arrives is at least as new as what is stored; then the merge is `||`, which replaces the values of known names.
 * The names are counted, and the bytes of an uncompressed row, only where
 * the size of the stored row says that there may be more than 1,024 names or `latestBytesMax` bytes. `changed_from` is the oldest `ts` of the
 * device in the batch; it is sent as a column because `on conflict` can read it only from `excluded`.
 */
export function updateLatest(
  { readings, streams }: Batch,
  ordinals: readonly number[],
  latestBytesMax: number,
): pg.QueryConfig {
  const changes = latestChanges(
    readings,
    streams.map(({ deviceKey }) => deviceKey),
    ordinals,
  );
  return {
    name: 'update_latest',
    text: `
      insert into device_latest as known (device_key, ts, received_at, changed_from, metrics)
      select n.device_key, nullif(n.ts, 'epoch'), n.received_at, nullif(n.changed_from, 'epoch'), 
        case when octet_length(n.metrics) <= $6 then n.metrics::jsonb else merged_latest('{}', n.metrics::jsonb, $6) end
      from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[]) as n (device_key, ts, received_at, changed_from, metrics)
      on conflict (device_key) do update set
        ts = greatest(known.ts, excluded.ts),
        received_at = greatest(known.received_at, excluded.received_at),
        changed_from = coalesce(excluded.changed_from, known.changed_from),
        metrics = case
          when excluded.ts is null then known.metrics
          when excluded.changed_from >= known.ts and (
            (pg_column_size(known.metrics) + pg_column_size(excluded.metrics) < 2000 and pg_column_compression(known.metrics) is null)
            or (pg_column_size(known.metrics || excluded.metrics) <= $6
              and (select count(*) from jsonb_object_keys(known.metrics || excluded.metrics)) <= 1024))
          then known.metrics || excluded.metrics
          else merged_latest(known.metrics, excluded.metrics, $6)
        end`,
    values: [
      int4Array(changes.map(({ deviceKey }) => deviceKey)),
      timestamptzArray(changes.map(({ newest = noTime }) => newest)),
      timestamptzArray(changes.map(({ receivedAt }) => receivedAt)),
      timestamptzArray(changes.map(({ oldest = noTime }) => oldest)),
      textArray(changes.map(({ metrics }) => JSON.stringify(metrics))),
      latestBytesMax,
    ],
  };
}
