import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { type Batch, type MarkedRow, insertReadings, markBlocks, updateLatest } from './batch-statements.ts';
import { type Origin, countDuplicates, countStored } from './reconciliation-statements.ts';
import { leavesConnectionUsable } from './cancellable.ts';
import {
  OlderThanRetentionError,
  PartitionMissingError,
  TransactionAbortedError,
  classifyFailure,
  isPartitionMissing,
} from './failure.ts';
import { Keys, type StreamKeys } from './keys.ts';
import { ensurePartitions, existingWeeks, retentionCutoff } from './partitions.ts';
import { type OfferedBlocks, contains, offeredBlocks } from './sequence-blocks.ts';
import { type ShapeBounds, Shapes } from './shapes.ts';
import { weekOf, weekStart } from './weeks.ts';

/** Shapes: distinct sets of numeric metric names. They get compact rows; beyond the bounds, the metrics of a reading are stored as JSON. */
export interface BatchWriterOptions extends Partial<ShapeBounds> {
  /** Readings older than this are refused. Without it, readings are kept forever. */
  readonly retentionDays?: number;
  /** Size of the latest state of one device; beyond it, values above 256 bytes are left out first, then the oldest. */
  readonly latestBytesMax?: number;
  /** Epoch milliseconds. */
  readonly clock?: () => number;
}

interface Written {
  readonly stored: number;
  /** Readings whose identity was stored before, or occurs earlier in the batch. */
  readonly duplicates: number;
}

export interface BatchWriter {
  /**
   * Stores readings in one transaction: all that are new, or none. Any identity `(deviceId, epoch, seq)` is stored once forever,
   * whatever else the reading holds, and however many writers there are. The same transaction counts them for reconciliation.
   * @param origin how the readings came here (reconciliation-statements.ts); of a mixed batch, `repeat`
   * @throws OlderThanRetentionError before anything is written; else whatever Postgres or the connection says (failure.ts)
   */
  write(readings: readonly IdentifiedReading[], origin?: Origin): Promise<Written>;
  readonly shapes: Pick<Shapes, 'count' | 'countAgain'>;
}

/**
 * After a refusal, this many batches are sent step by step: while bad readings come in, statements that follow a refused one would each
 * leave an error in the log of Postgres.
 */
const stepwiseBatchesAfterRefusal = 100;

export const shapesMaxDefault = 10_000;
export const shapesPerDeviceMaxDefault = 64;
export const latestBytesMaxDefault = 64 * 1_024;

/** @param pool opened with `pipelined`: a batch is three round trips */
export function createBatchWriter(pool: pg.Pool, options: BatchWriterOptions = {}): BatchWriter {
  const { retentionDays, shapesMax = shapesMaxDefault, shapesPerDeviceMax = shapesPerDeviceMaxDefault } = options;
  const { latestBytesMax = latestBytesMaxDefault, clock = Date.now } = options;
  if (!pool.options.pipeline) throw new TypeError('the batch writer needs a database opened with `pipelined`');
  const keys = new Keys(pool);
  const shapes = new Shapes(pool, { shapesMax, shapesPerDeviceMax });
  let knownWeeks = new Set<number>();
  let stepwiseBatches = 0;

  async function preparePartitions(readings: readonly IdentifiedReading[]): Promise<void> {
    const missing = () => new Set(readings.map(({ ts }) => weekStart(ts))).difference(knownWeeks);
    if (missing().size === 0) return;
    knownWeeks = await existingWeeks(pool);
    await ensurePartitions(pool, [...missing()].sort((a, b) => a - b).map(weekOf));
    knownWeeks = knownWeeks.union(missing());
  }

  return {
    shapes,
    async write(readings, origin = 'first') {
      if (readings.length === 0) return { stored: 0, duplicates: 0 };
      if (retentionDays !== undefined) refuseOlderThan(retentionCutoff(clock(), retentionDays), readings);
      await preparePartitions(readings);
      const streams = await keys.streams(readings);
      const rowShapes = await shapes.of(
        readings.map((reading, index) => ({
          deviceKey: (streams[index] as StreamKeys).deviceKey,
          names: numericNames(reading),
        })),
      );
      try {
        const isStepwise = stepwiseBatches > 0;
        if (isStepwise) stepwiseBatches -= 1;
        const stored = await store(
          pool,
          { readings, streams, shapes: rowShapes },
          { origin, isStepwise, latestBytesMax },
        );
        return { stored, duplicates: readings.length - stored };
      } catch (error) {
        if (classifyFailure(error) === 'bad-data') stepwiseBatches = stepwiseBatchesAfterRefusal;
        if (!isPartitionMissing(error)) throw error;
        // A partition was dropped since `knownWeeks` was read.
        knownWeeks = new Set();
        throw new PartitionMissingError(error);
      }
    },
  };
}

function refuseOlderThan(cutoff: number, readings: readonly IdentifiedReading[]): void {
  const count = readings.filter(({ ts }) => ts < cutoff).length;
  if (count > 0) throw new OlderThanRetentionError(count, cutoff);
}

function numericNames({ metrics }: IdentifiedReading): string[] {
  const names: string[] = [];
  for (const name in metrics) if (typeof metrics[name] === 'number') names.push(name);
  return names;
}

interface StoreOptions {
  readonly origin: Origin;
  /** One more round trip: nothing is sent after readings that Postgres refuses. */
  readonly isStepwise: boolean;
  readonly latestBytesMax: number;
}

/** @returns how many readings were new */
async function store(
  pool: pg.Pool,
  batch: Batch,
  { origin, isStepwise, latestBytesMax }: StoreOptions,
): Promise<number> {
  const offered = offeredBlocks(
    batch.streams.map(({ streamKey }) => streamKey),
    batch.readings.map(({ seq }) => seq),
  );
  const client = await pool.connect();
  let failure: unknown;
  let isTransactionOver = false;
  try {
    // Wait for the answer to `begin`: if only `begin` failed, the next statements would commit one by one.
    await client.query('begin');
    const marked = await client.query<MarkedRow>(markBlocks(offered));
    const fresh = freshOrdinals(batch, offered, marked.rows);
    if (fresh.length === 0) {
      // All readings are duplicates. Roll back: only the helper column `added` would change.
      await client.query('rollback');
      isTransactionOver = true;
      await client.query(countDuplicates(batch, fresh, origin));
      return 0;
    }
    const rows = insertReadings(batch, fresh);
    const latest = updateLatest(batch, fresh, latestBytesMax);
    const stored = countStored(batch, fresh, origin);
    const duplicates = fresh.length < batch.readings.length ? [countDuplicates(batch, fresh, origin)] : [];
    const counted = [...duplicates, stored];
    const inserting = client.query(rows);
    if (isStepwise) await inserting;
    const statements = [inserting, ...[latest, ...counted].map((statement) => client.query(statement))];
    const committing = client.query('commit');
    // All are awaited before the first failure is thrown: the later ones fail only because of it.
    await Promise.allSettled([...statements, committing]);
    isTransactionOver = true;
    await Promise.all(statements);
    const [inserted, committed] = await Promise.all([inserting, committing]);
    if (committed.command !== 'COMMIT') throw new TransactionAbortedError();
    return inserted.rowCount ?? 0;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    await giveBack(client, failure, isTransactionOver);
  }
}

/** Ordinals of the readings that were not in the sequence ledger, by stream and sequence number. */
function freshOrdinals({ readings }: Batch, { blocks, order }: OfferedBlocks, marked: readonly MarkedRow[]): number[] {
  const added = new Map(marked.map((row) => [`${row.stream_key}/${row.block}`, row.added]));
  return blocks.flatMap(({ streamKey, block, ranges, from, to }) => {
    const ordinals = order.slice(from, to);
    const fresh = added.get(`${streamKey}/${block}`);
    // A missing answer must never count as a duplicate: the reading would be acknowledged, and lost.
    if (fresh === undefined)
      throw new Error(`the sequence ledger has no answer for block ${block} of stream ${streamKey}`);
    return fresh === ranges
      ? ordinals
      : ordinals.filter((ordinal) => contains(fresh, (readings[ordinal] as IdentifiedReading).seq));
  });
}

async function giveBack(client: pg.PoolClient, failure: unknown, isTransactionOver: boolean): Promise<void> {
  if (failure === undefined) return client.release();
  if (!leavesConnectionUsable(failure)) return client.release(failure as Error);
  if (isTransactionOver) return client.release();
  await client.query('rollback').then(
    () => client.release(),
    (error: Error) => client.release(error),
  );
}
