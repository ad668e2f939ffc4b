import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { float8Array, int2Array, int4Array, int8Array, textArray, timestamptzArray } from './binary-arrays.ts';
import { leavesConnectionUsable } from './cancellable.ts';
import {
  OlderThanRetentionError,
  PartitionMissingError,
  TransactionAbortedError,
  isPartitionMissing,
} from './failure.ts';
import { Keys, type Shape, type StreamKeys } from './keys.ts';
import { latestChanges } from './latest.ts';
import { ensurePartitions, existingWeeks, retentionCutoff } from './partitions.ts';
import { type OfferedBlocks, contains, offeredBlocks } from './sequence-blocks.ts';
import { weekOf, weekStart } from './weeks.ts';

export interface BatchWriterOptions {
  /** Older readings are refused. Without it, readings are kept for ever. */
  readonly retentionDays?: number;
  /** Distinct sets of numeric metric names that get compact rows; readings beyond are stored as JSON. At most 30,000. */
  readonly shapesMax?: number;
  /** Epoch milliseconds. */
  readonly clock?: () => number;
}

export interface Written {
  readonly stored: number;
  /** Readings whose identity was stored before, or is twice in the batch. */
  readonly duplicates: number;
}

export interface BatchWriter {
  /**
   * Stores readings in one transaction: all that are new, or none. Any identity `(deviceId, epoch, seq)` is stored once for ever,
   * whatever else the reading says, and however many writers there are.
   * @throws OlderThanRetentionError before anything is written; else whatever Postgres or the connection says (failure.ts)
   */
  write(readings: readonly IdentifiedReading[]): Promise<Written>;
}

const shapesMaxDefault = 10_000;

/** @param pool opened with `pipelined`: a batch is two round trips */
export function createBatchWriter(pool: pg.Pool, options: BatchWriterOptions = {}): BatchWriter {
  const { retentionDays, shapesMax = shapesMaxDefault, clock = Date.now } = options;
  if (!pool.options.pipeline) throw new TypeError('the batch writer needs a database opened with `pipelined`');
  const keys = new Keys(pool, shapesMax);
  let knownWeeks = new Set<number>();

  async function preparePartitions(readings: readonly IdentifiedReading[]): Promise<void> {
    const missing = () => new Set(readings.map(({ ts }) => weekStart(ts))).difference(knownWeeks);
    if (missing().size === 0) return;
    knownWeeks = await existingWeeks(pool);
    await ensurePartitions(pool, [...missing()].sort((a, b) => a - b).map(weekOf));
    knownWeeks = knownWeeks.union(missing());
  }

  return {
    async write(readings) {
      if (readings.length === 0) return { stored: 0, duplicates: 0 };
      if (retentionDays !== undefined) refuseOlderThan(retentionCutoff(clock(), retentionDays), readings);
      await preparePartitions(readings);
      const streams = await keys.streams(readings);
      const shapes = await keys.shapes(readings.map(numericNames));
      try {
        const stored = await store(pool, { readings, streams, shapes });
        return { stored, duplicates: readings.length - stored };
      } catch (error) {
        if (!isPartitionMissing(error)) throw error;
        // Somebody dropped it since we looked.
        knownWeeks = new Set();
        throw new PartitionMissingError(error);
      }
    },
  };
}

interface Batch {
  readonly readings: readonly IdentifiedReading[];
  readonly streams: readonly StreamKeys[];
  readonly shapes: readonly Shape[];
}

function refuseOlderThan(cutoff: number, readings: readonly IdentifiedReading[]): void {
  const ordinals = [...readings.keys()].filter((ordinal) => (readings[ordinal] as IdentifiedReading).ts < cutoff);
  if (ordinals.length > 0) throw new OlderThanRetentionError(ordinals, cutoff);
}

function numericNames({ metrics }: IdentifiedReading): string[] {
  const names: string[] = [];
  for (const name in metrics) if (typeof metrics[name] === 'number') names.push(name);
  return names;
}

/** @returns how many readings were new */
async function store(pool: pg.Pool, batch: Batch): Promise<number> {
  const offered = offeredBlocks(
    batch.streams.map(({ streamKey }) => streamKey),
    batch.readings.map(({ seq }) => seq),
  );
  const client = await pool.connect();
  let failure: unknown;
  try {
    const [, marked] = await together([client.query('begin'), client.query<MarkedRow>(markBlocks(offered))]);
    const fresh = freshOrdinals(batch, offered, marked.rows);
    if (fresh.length === 0) {
      // The ledger is as it was, but for the note of the last writer.
      await client.query('rollback');
      return 0;
    }
    const [inserted, , committed] = await together([
      client.query(insertReadings(batch, fresh)),
      client.query(updateLatest(batch, fresh)),
      client.query('commit'),
    ]);
    if (committed.command !== 'COMMIT') throw new TransactionAbortedError();
    return inserted.rowCount ?? 0;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    await giveBack(client, failure);
  }
}

/** Statements that were sent together: the first failure is the cause, and all are answered before it is thrown. */
async function together<Results extends readonly unknown[]>(
  statements: readonly [...{ [K in keyof Results]: Promise<Results[K]> }],
): Promise<Results> {
  const outcomes = await Promise.allSettled(statements);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<unknown>).value) as unknown as Results;
}

async function giveBack(client: pg.PoolClient, failure: unknown): Promise<void> {
  if (failure === undefined) return client.release();
  if (!leavesConnectionUsable(failure)) return client.release(failure as Error);
  // A commit that was sent along has rolled back already; Postgres then only warns.
  await client.query('rollback').then(
    () => client.release(),
    (error: Error) => client.release(error),
  );
}

interface MarkedRow {
  readonly stream_key: number;
  readonly block: number;
  readonly added: string;
}

/**
 * Enters the batch in the ledger of identities, and learns what was not there before. It also locks these rows, in the same order in
 * all writers, so that of two with the same identities the second waits, and then sees what the first has stored.
 */
function markBlocks({ blocks }: OfferedBlocks): pg.QueryConfig {
  return {
    name: 'mark_blocks',
    text: `
      insert into sequence_blocks as stored (stream_key, block, seen, added)
      select o.stream_key, o.block, o.ranges::int8multirange, o.ranges::int8multirange
      from unnest($1::int4[], $2::int8[], $3::text[]) as o (stream_key, block, ranges)
      on conflict (stream_key, block) do update set seen = stored.seen + excluded.seen, added = excluded.seen - stored.seen
      returning stream_key, block, added`,
    values: [
      int4Array(blocks.map(({ streamKey }) => streamKey)),
      int8Array(blocks.map(({ block }) => block)),
      textArray(blocks.map(({ ranges }) => ranges)),
    ],
  };
}

/** Ordinals of the readings that the ledger had not seen, by stream and sequence number. */
function freshOrdinals({ readings }: Batch, { blocks, order }: OfferedBlocks, marked: readonly MarkedRow[]): number[] {
  const added = new Map(marked.map((row) => [`${row.stream_key}/${row.block}`, row.added]));
  return blocks.flatMap(({ streamKey, block, ranges, from, to }) => {
    const ordinals = order.slice(from, to);
    const fresh = added.get(`${streamKey}/${block}`) ?? '{}';
    return fresh === ranges
      ? ordinals
      : ordinals.filter((ordinal) => contains(fresh, (readings[ordinal] as IdentifiedReading).seq));
  });
}

function insertReadings({ readings, streams, shapes }: Batch, ordinals: readonly number[]): pg.QueryConfig {
  const rows = ordinals.map((ordinal) => readings[ordinal] as IdentifiedReading);
  const rowStreams = ordinals.map((ordinal) => streams[ordinal] as StreamKeys);
  const rowShapes = ordinals.map((ordinal) => shapes[ordinal] as Shape);
  // All numbers of all rows stand in one array; each row says where its own end.
  const numbers: number[] = [];
  const ends: number[] = [];
  const others: (string | null)[] = [];
  for (const [index, { metrics }] of rows.entries()) {
    const { names } = rowShapes[index] as Shape;
    for (const name of names) numbers.push(metrics[name] as number);
    ends.push(numbers.length);
    others.push(othersThan(names, metrics));
  }
  return {
    name: 'insert_readings',
    text: `
      insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers, others)
      select n.ts, n.received_at, n.seq, n.device_key, n.stream_key, n.shape_key, ($9::float8[])[n.first:n.last], n.others::jsonb
      from unnest($1::timestamptz[], $2::timestamptz[], $3::int8[], $4::int4[], $5::int4[], $6::int2[], $7::int4[], $8::int4[], $10::text[])
        as n (ts, received_at, seq, device_key, stream_key, shape_key, first, last, others)`,
    values: [
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
    ],
  };
}

/** The metrics that are not in the shape, as JSON. */
function othersThan(names: readonly string[], metrics: IdentifiedReading['metrics']): string | null {
  let others: Record<string, unknown> | undefined;
  for (const name in metrics) {
    if (names.length > 0 && typeof metrics[name] === 'number') continue;
    others ??= {};
    others[name] = metrics[name];
  }
  return others === undefined ? null : JSON.stringify(others);
}

/**
 * Where all that arrives is as new as what is known, the usual case, putting the one over the other is the merge. Postgres' own count
 * of names is asked for only where there may be many.
 */
function updateLatest({ readings, streams }: Batch, ordinals: readonly number[]): pg.QueryConfig {
  const changes = latestChanges(
    readings,
    streams.map(({ deviceKey }) => deviceKey),
    ordinals,
  );
  return {
    name: 'update_latest',
    text: `
      insert into device_latest as known (device_key, ts, received_at, changed_from, metrics)
      select n.device_key, n.ts, n.received_at, n.changed_from, n.metrics::jsonb
      from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[]) as n (device_key, ts, received_at, changed_from, metrics)
      on conflict (device_key) do update set
        ts = greatest(known.ts, excluded.ts),
        received_at = greatest(known.received_at, excluded.received_at),
        changed_from = excluded.changed_from,
        metrics = case
          when excluded.changed_from >= known.ts and (pg_column_size(known.metrics) < 2000
            or (select count(*) from jsonb_object_keys(known.metrics || excluded.metrics)) <= 1024)
          then known.metrics || excluded.metrics
          else merged_latest(known.metrics, excluded.metrics)
        end`,
    values: [
      int4Array(changes.map(({ deviceKey }) => deviceKey)),
      timestamptzArray(changes.map(({ newest }) => newest)),
      timestamptzArray(changes.map(({ receivedAt }) => receivedAt)),
      timestamptzArray(changes.map(({ oldest }) => oldest)),
      textArray(changes.map(({ metrics }) => JSON.stringify(metrics))),
    ],
  };
}
