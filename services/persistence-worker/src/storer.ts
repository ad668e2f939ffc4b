import { randomUUID } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import type { FailureClass } from '@fleetwire/store/failure';
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
}

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
      const rejected = await this.store(readings, { deliveries, isLastChance });
      stopTimer();
      span.end();
      metrics.batchReadings.observe(readings.length);
      const oldestArrivalAt = Math.min(...batch.map((message) => message.oldestArrivalAt));
      metrics.endToEndSeconds.observe(Math.max(0, Date.now() - oldestArrivalAt) / 1_000);
      if (logger.isLevelEnabled('debug')) {
        for (const { delivery, items } of batch)
          logger.debug({ ...correlationOf(delivery.headers), batchId, readings: items.length }, 'envelope stored');
      }
      for (const { items, promise } of batch)
        promise.resolve(rejected.length === 0 ? rejected : rejected.filter(({ reading }) => items.includes(reading)));
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
    const { outcomes, gate } = this.#options;
    try {
      await gate.retryWhileUnavailable((mayBeCommitted) =>
        outcomes.store(readings, context.deliveries, mayBeCommitted),
      );
      return [];
    } catch (error) {
      return this.#bisect(readings, error, context);
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
}
