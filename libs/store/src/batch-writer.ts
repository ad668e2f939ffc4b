import type { EnvelopePosition } from '@fleetwire/contracts/envelope-position';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { type Batch, type MarkedRow, insertReadings, markBlocks, updateLatest } from './batch-statements.ts';
import { leavesConnectionUsable } from './cancellable.ts';
import { noteConflicts } from './conflicts.ts';
import { type ConflictingDuplicate, findConflicts } from './duplicate-comparison.ts';
import { DevicePeriods } from './device-periods.ts';
import {
  OlderThanRetentionError,
  PartitionMissingError,
  RefusedReadingsError,
  StreamForgottenError,
  TransactionAbortedError,
  classifyFailure,
  isPartitionMissing,
  isStreamMissing,
} from './failure.ts';
import { Keys, type StreamKeys } from './keys.ts';
import { retentionCutoff } from './partitions.ts';
import { type Horizon, beginChange, readHorizon } from './rollups/horizon.ts';
import { markTiles } from './rollups/mark-tiles.ts';
import { EnvelopeRecorder } from './positions/record-envelopes.ts';
import type { SettledEnvelope } from './positions/settled-envelope.ts';
import { type Origin, countDeadLetteredBefore, countDuplicates, countStored } from './reconciliation-statements.ts';
import { type OfferedBlocks, contains, offeredBlocks } from './sequence-blocks.ts';
import { type ShapeBounds, Shapes } from './shapes.ts';

/** Shapes: distinct sets of numeric metric names. They get compact rows; beyond the bounds, the metrics of a reading are stored as JSON. */
export interface BatchWriterOptions extends Partial<ShapeBounds> {
  /** Readings older than this are refused. Without it, readings are kept forever. */
  readonly retentionDays?: number;
  /** So are these, whether there is a retention or not. */
  readonly readingAgeDaysMax?: number;
  /** Epochs that a device begins within 24 hours; readings of further ones are refused. */
  readonly streamsPerDeviceDayMax?: number;
  /** Size of the latest state of one device; beyond it, values above 256 bytes are left out first, then the oldest. */
  readonly latestBytesMax?: number;
  /** Epoch milliseconds. */
  readonly clock?: () => number;
}

interface Written {
  readonly stored: number;
  /** Readings whose identity was stored before, or occurs earlier in the batch. */
  readonly duplicates: number;
  /** The duplicates that were found to have another content than the stored reading (duplicate-comparison.ts). */
  readonly conflicts: readonly Conflict[];
}

/** A reading that was not stored, because another one has its identity. Times are device times, epoch milliseconds. */
export interface Conflict {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly storedTs: number;
  readonly refusedTs: number;
}

export interface BatchWriter {
  /**
   * Stores readings in one transaction: all that are new, or none. Any identity `(deviceId, epoch, seq)` is stored once forever,
   * whatever else the reading holds, and however many writers there are. The same transaction counts them for reconciliation.
   * @param origin how the readings came here (reconciliation-statements.ts); of a mixed batch, `repeat`
   * @param envelopes whole envelopes whose readings are all in this batch, or have their final fate; they are settled by this transaction
   * @throws RefusedReadingsError before anything is written; else whatever Postgres or the connection says (failure.ts)
   */
  write(
    readings: readonly IdentifiedReading[],
    origin?: Origin,
    envelopes?: readonly SettledEnvelope[],
  ): Promise<Written>;
  /** Enters an envelope that is settled otherwise than by one transaction: in parts, or as dead letters. */
  readonly recordEnvelope: (envelope: SettledEnvelope) => Promise<void>;
  /** Enters that an envelope comes again from a retry queue: its edge is not closed before. */
  readonly recordOpenEnvelope: (position: EnvelopePosition) => Promise<void>;
  readonly shapes: Pick<Shapes, 'count' | 'countAgain'>;
  /** How many there were when the writer last looked. */
  readonly partitions: number;
}

/**
 * After a refusal, this many batches are sent step by step: while bad readings come in, statements that follow a refused one would each
 * leave an error in the log of Postgres.
 */
const stepwiseBatchesAfterRefusal = 100;

export const shapesMaxDefault = 10_000;
export const shapesPerDeviceMaxDefault = 64;
export const latestBytesMaxDefault = 64 * 1_024;
/** A new epoch every 17 seconds. */
export const streamsPerDeviceDayMaxDefault = 5_000;
/** From the year 2000, the oldest device time of the protocol, on. */
export const readingAgeDaysMaxDefault = 36_500;

/** @param pool opened with `pipelined`: a batch is three round trips */
export function createBatchWriter(pool: pg.Pool, options: BatchWriterOptions = {}): BatchWriter {
  const { retentionDays, shapesMax = shapesMaxDefault, shapesPerDeviceMax = shapesPerDeviceMaxDefault } = options;
  const { latestBytesMax = latestBytesMaxDefault, clock = Date.now } = options;
  const { streamsPerDeviceDayMax = streamsPerDeviceDayMaxDefault } = options;
  const { readingAgeDaysMax = readingAgeDaysMaxDefault } = options;
  const keptDays = Math.min(retentionDays ?? readingAgeDaysMax, readingAgeDaysMax);
  if (!pool.options.pipeline) throw new TypeError('the batch writer needs a database opened with `pipelined`');
  const keys = new Keys(pool, { streamsPerDeviceDayMax });
  const devicePeriods = new DevicePeriods(pool, clock);
  const recorder = new EnvelopeRecorder(pool);
  const shapes = new Shapes(pool, { shapesMax, shapesPerDeviceMax });
  let stepwiseBatches = 0;

  return {
    shapes,
    recordEnvelope: (envelope) => recorder.record(envelope),
    recordOpenEnvelope: (position) => recorder.recordOpen(position),
    get partitions() {
      return devicePeriods.partitions;
    },
    async write(readings, origin = 'first', envelopes = []) {
      if (readings.length === 0) return { stored: 0, duplicates: 0, conflicts: [] };
      refuseOlderThan(retentionCutoff(clock(), keptDays), readings);
      const periods = await devicePeriods.of(readings);
      const streams = await keys.streams(readings);
      await devicePeriods.register(streams, periods);
      const positions = await recorder.statements(envelopes, readings);
      const rowShapes = await shapes.of(
        readings.map((reading, index) => ({
          deviceKey: (streams[index] as StreamKeys).deviceKey,
          names: numericNames(reading),
        })),
      );
      try {
        const isStepwise = stepwiseBatches > 0;
        if (isStepwise) stepwiseBatches -= 1;
        return await store(
          pool,
          { readings, streams, shapes: rowShapes },
          { origin, positions, isStepwise, latestBytesMax },
        );
      } catch (error) {
        if (classifyFailure(error) === 'bad-data') stepwiseBatches = stepwiseBatchesAfterRefusal;
        if (isStreamMissing(error)) {
          keys.forget();
          throw new StreamForgottenError(error);
        }
        if (!isPartitionMissing(error)) throw error;
        devicePeriods.forget();
        throw new PartitionMissingError(error);
      }
    },
  };
}

function refuseOlderThan(cutoff: number, readings: readonly IdentifiedReading[]): void {
  const refused = readings.filter(({ ts }) => ts < cutoff);
  if (refused.length > 0) throw new OlderThanRetentionError(refused, cutoff);
}

function numericNames({ metrics }: IdentifiedReading): string[] {
  const names: string[] = [];
  for (const name in metrics) if (typeof metrics[name] === 'number') names.push(name);
  return names;
}

interface StoreOptions {
  readonly origin: Origin;
  /** Enters the positions of settled envelopes. */
  readonly positions: readonly pg.QueryConfig[];
  /** One more round trip: nothing is sent after readings that Postgres refuses. */
  readonly isStepwise: boolean;
  readonly latestBytesMax: number;
}

async function store(
  pool: pg.Pool,
  batch: Batch,
  { origin, positions, isStepwise, latestBytesMax }: StoreOptions,
): Promise<Written> {
  const offered = offeredBlocks(
    batch.streams.map(({ streamKey }) => streamKey),
    batch.readings.map(({ seq }) => seq),
  );
  const client = await pool.connect();
  let failure: unknown;
  let isTransactionOver = false;
  try {
    // Wait for the answer to `begin`: if only `begin` failed, the next statements would commit one by one.
    await client.query(beginChange);
    const [horizon, marked] = await Promise.all([
      client.query<Horizon & pg.QueryResultRow>(readHorizon),
      client.query<MarkedRow>(markBlocks(offered)),
    ]);
    const fresh = freshOrdinals(batch, offered, marked.rows);
    const duplicates = ordinalsWithout(batch, fresh);
    if (fresh.length === 0) {
      // All readings are duplicates. Roll back: only the helper column `newly_stored` would change.
      await client.query('rollback');
      isTransactionOver = true;
      const conflicts = await findConflicts(client, batch, duplicates);
      const entered = [...countings(batch, { duplicates, conflicts, origin }), ...positions];
      await Promise.all(entered.map((statement) => client.query(statement)));
      return { stored: 0, duplicates: duplicates.length, conflicts: conflictsOf(batch, conflicts) };
    }
    const marks = markTiles(batch, fresh, horizon.rows[0]!);
    const rows = insertReadings(batch, fresh);
    const latest = updateLatest(batch, fresh, latestBytesMax);
    const stored = [countStored(batch, fresh, origin)];
    if (origin === 'repeat') stored.push(countDeadLetteredBefore(batch, fresh));
    const inserting = client.query(rows);
    if (isStepwise || duplicates.length > 0) await inserting;
    const conflicts = duplicates.length === 0 ? [] : await findConflicts(client, batch, duplicates);
    const counted = [...countings(batch, { duplicates, conflicts, origin }), ...stored, ...positions];
    const statements = [inserting, ...[...marks, latest, ...counted].map((statement) => client.query(statement))];
    const committing = client.query('commit');
    // All are awaited before the first failure is thrown: the later ones fail only because of it.
    await Promise.allSettled([...statements, committing]);
    isTransactionOver = true;
    await Promise.all(statements);
    const [inserted, committed] = await Promise.all([inserting, committing]);
    if (committed.command !== 'COMMIT') throw new TransactionAbortedError();
    const count = inserted.rowCount ?? 0;
    return { stored: count, duplicates: batch.readings.length - count, conflicts: conflictsOf(batch, conflicts) };
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    await giveBack(client, failure, isTransactionOver);
  }
}

/** Ordinals of the readings that were not in the sequence ledger, by stream and sequence number. */
function freshOrdinals({ readings }: Batch, { blocks, order }: OfferedBlocks, marked: readonly MarkedRow[]): number[] {
  const added = new Map(marked.map((row) => [`${row.stream_key}/${row.block}`, row.newly_stored]));
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

function ordinalsWithout({ readings }: Batch, fresh: readonly number[]): number[] {
  if (fresh.length === readings.length) return [];
  const isFresh = new Set(fresh);
  return [...readings.keys()].filter((ordinal) => !isFresh.has(ordinal));
}

interface Duplicates {
  readonly duplicates: readonly number[];
  readonly conflicts: readonly ConflictingDuplicate[];
  readonly origin: Origin;
}

function countings(batch: Batch, { duplicates, conflicts, origin }: Duplicates): pg.QueryConfig[] {
  if (duplicates.length === 0) return [];
  const isConflict = new Set(conflicts.map(({ ordinal }) => ordinal));
  const counted = countDuplicates(batch, { duplicates, conflicts: isConflict }, origin);
  return conflicts.length === 0 ? [counted] : [counted, noteConflicts(batch, conflicts)];
}

function conflictsOf({ readings }: Batch, conflicts: readonly ConflictingDuplicate[]): Conflict[] {
  return conflicts.map(({ ordinal, storedTs }) => {
    const { deviceId, epoch, seq, ts: refusedTs } = readings[ordinal] as IdentifiedReading;
    return { deviceId, epoch, seq, storedTs, refusedTs };
  });
}

async function giveBack(client: pg.PoolClient, failure: unknown, isTransactionOver: boolean): Promise<void> {
  if (failure === undefined) return client.release();
  if (!leavesConnectionUsable(failure) && !(failure instanceof RefusedReadingsError))
    return client.release(failure as Error);
  if (isTransactionOver) return client.release();
  await client.query('rollback').then(
    () => client.release(),
    (error: Error) => client.release(error),
  );
}
