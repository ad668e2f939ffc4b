import { randomUUID } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import { positionOf } from '@fleetwire/contracts/envelope-position';
import type { Conflict } from '@fleetwire/store/batch-writer';
import { type FailureClass, RefusedReadingsError, isStatementTimeout } from '@fleetwire/store/failure';
import { type SettledEnvelope, timesOf } from '@fleetwire/store/positions/settled-envelope';
import type { DatabaseGate } from './database-gate.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import { beginStoring, correlationOf } from './tracing.ts';
import type { PendingMessage, RejectedReading } from './transaction-batcher.ts';

export interface StorerOptions {
  readonly outcomes: Pick<ReadingOutcomes, 'store'>;
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
  readonly metrics: WorkerMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Aborted when the worker must stop waiting. */
  readonly signal: AbortSignal;
}

interface StoreContext {
  readonly deliveries: readonly Delivery[];
  /** No retries remain: halve the batch on an unknown failure too. */
  readonly isLastChance: boolean;
  /** An earlier try with these readings may have been committed. */
  readonly mayBeCommitted?: boolean;
  /** Their envelopes are settled by the transaction that stores their readings, if it is one. */
  readonly messages?: readonly PendingMessage[];
  /** Collects the conflicting readings. */
  readonly conflicts?: Conflict[];
}

interface Stored {
  readonly rejected: readonly RejectedReading[];
  /** The messages whose envelopes were settled in the transaction. */
  readonly settled: readonly PendingMessage[];
}

/** Statement timeouts of the same readings, while Postgres answers probes, after which they are stored in two transactions. */
const timeoutsBeforeHalving = 3;

/** Stores batches of messages until each reading is stored or rejected. */
export class Storer {
  readonly #options: StorerOptions;

  constructor(options: StorerOptions) {
    this.#options = options;
  }

  /** Stores the readings of a batch, in one transaction unless Postgres refuses one of them, and settles the promise of each message. */
  async storeBatch(batch: readonly PendingMessage[]): Promise<void> {
    const { metrics, logger, tracer } = this.#options;
    const readings = batch.length === 1 ? batch[0]!.items : batch.flatMap(({ items }) => items);
    const deliveries = batch.map(({ delivery }) => delivery);
    const batchId = randomUUID();
    const span = beginStoring(tracer, deliveries, { batchId, readings: readings.length });
    const stopTimer = metrics.batchSeconds.startTimer();
    try {
      const isLastChance = batch.every((message) => message.isLastChance);
      const conflicts: Conflict[] = [];
      const { rejected, settled } = await this.#storeWhole(readings, {
        deliveries,
        isLastChance,
        messages: batch,
        conflicts,
      });
      stopTimer();
      span.end();
      metrics.batchReadings.observe(readings.length);
      const oldestArrivalAt = Math.min(...batch.map(({ arrival }) => arrival.oldestAt));
      metrics.endToEndSeconds.observe(Math.max(0, Date.now() - oldestArrivalAt) / 1_000);
      if (logger.isLevelEnabled('debug')) {
        for (const { delivery, items } of batch)
          logger.debug({ ...correlationOf(delivery.headers), batchId, readings: items.length }, 'envelope stored');
      }
      for (const message of batch)
        message.promise.resolve({
          rejected:
            rejected.length === 0 ? rejected : rejected.filter(({ reading }) => message.items.includes(reading)),
          isPositionEntered: settled.includes(message),
          conflicts,
        });
    } catch (error) {
      span.end(error);
      for (const { promise } of batch) promise.reject(error);
    }
  }

  /**
   * Bisects what Postgres refuses down to the single reading.
   * @returns the rejected readings; the others are stored
   * @throws an unknown failure, unless it is the last chance: nothing is lost, some readings may be stored; or the signal's reason
   */
  async store(readings: readonly IdentifiedReading[], context: StoreContext): Promise<readonly RejectedReading[]> {
    return (await this.#storeWhole(readings, context)).rejected;
  }

  async #storeWhole(
    readings: readonly IdentifiedReading[],
    { messages = [], ...context }: StoreContext,
  ): Promise<Stored> {
    const { outcomes, gate } = this.#options;
    try {
      const conflicts = await gate.retryWhileUnavailable(
        ({ mayBeCommitted }) =>
          outcomes.store(
            readings,
            context.deliveries,
            mayBeCommitted || context.mayBeCommitted === true,
            settledBy(messages),
          ),
        // A single reading is small: what takes so long is not its fault.
        readings.length > 1 ? { timeoutsMax: timeoutsBeforeHalving } : {},
      );
      context.conflicts?.push(...conflicts);
      return { rejected: [], settled: messages };
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (error instanceof RefusedReadingsError) return this.#storeOthers(readings, error, { ...context, messages });
      return { rejected: await this.#bisect(readings, error, context), settled: [] };
    }
  }

  /** @param error with which Postgres refused these readings together */
  async #bisect(
    readings: readonly IdentifiedReading[],
    error: unknown,
    context: StoreContext,
  ): Promise<readonly RejectedReading[]> {
    const { classify, signal } = this.#options;
    signal.throwIfAborted();
    if (isStatementTimeout(error)) return this.#storeHalves(readings, { ...context, mayBeCommitted: true });
    if (classify(error) === 'unknown' && !context.isLastChance) throw error;
    const [only] = readings;
    if (readings.length === 1 && only !== undefined) return [{ reading: only, error }];
    const middle = Math.ceil(readings.length / 2);
    const rest = readings.slice(middle);
    const first = await this.store(readings.slice(0, middle), context);
    // With nothing rejected in the first half, the second would be refused again: each refusal is an error in the log of Postgres.
    const isRestRefused = first.length === 0 && rest.length > 1;
    const second = isRestRefused ? await this.#bisect(rest, error, context) : await this.store(rest, context);
    return [...first, ...second];
  }

  /** Together they take longer than a statement may. Unlike readings that are refused, both halves may be stored. */
  async #storeHalves(
    readings: readonly IdentifiedReading[],
    context: StoreContext,
  ): Promise<readonly RejectedReading[]> {
    const { logger } = this.#options;
    logger.warn({ readings: readings.length }, 'readings reach the statement timeout together; storing them by halves');
    const middle = Math.ceil(readings.length / 2);
    const first = await this.store(readings.slice(0, middle), context);
    return [...first, ...(await this.store(readings.slice(middle), context))];
  }

  /** The error names the refused readings, and nothing was sent to Postgres: no search by halves. */
  async #storeOthers(
    readings: readonly IdentifiedReading[],
    error: RefusedReadingsError,
    { messages = [], ...context }: StoreContext,
  ): Promise<Stored> {
    const refused = readings.filter((reading) => error.readings.has(reading)).map((reading) => ({ reading, error }));
    const others = readings.filter((reading) => !error.readings.has(reading));
    if (others.length === 0) return { rejected: refused, settled: [] };
    const complete = messages.filter(({ items }) => !items.some((reading) => error.readings.has(reading)));
    const { rejected, settled } = await this.#storeWhole(others, { ...context, messages: complete });
    return { rejected: [...refused, ...rejected], settled };
  }
}

/** The envelopes of a batch; halves of a split one are settled only together. */
function settledBy(batch: readonly PendingMessage[]): SettledEnvelope[] {
  return batch.flatMap(({ delivery, items }) => {
    const position = positionOf(delivery.headers);
    return position?.part === '' ? [{ position, times: timesOf(items) }] : [];
  });
}
