import type { Delivery } from '@fleetwire/broker/delivery';
import { attemptOf } from '@fleetwire/broker/retry-headers';
import type { Settlement } from '@fleetwire/broker/settled-prefix';
import { retrySteps } from '@fleetwire/broker/topology';
import { type EdgeReport, decodeEdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import { decodeEnvelope } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import { OlderThanRetentionError, classifyFailure } from '@fleetwire/store/failure';
import { deadMember, deadMessage, deadReading, failureHistoryOf } from './dead-letters.ts';
import type { PoisonIsolation } from './poison-isolation.ts';
import type { MessageSizes } from './message-sizes.ts';
import { type ReadingOutcomes, isReplay } from './reading-outcomes.ts';
import { beginProcessing } from './tracing.ts';
import type { RejectedReading, TransactionBatcher } from './transaction-batcher.ts';

export interface EnvelopeHandlerOptions {
  readonly isolation: PoisonIsolation;
  readonly batcher: TransactionBatcher;
  readonly outcomes: ReadingOutcomes;
  readonly sizes: MessageSizes;
  /** Enters a report of the edge for reconciliation, once however often it is called. */
  readonly recordEdgeReport: (report: EdgeReport) => Promise<unknown>;
  readonly tracer: Tracer;
  /** Aborted when the unacknowledged messages must be handed back. */
  readonly signal: AbortSignal;
}

/**
 * Routes each message of the work queue to its outcome. A message is acknowledged when each of its readings is committed, or the broker has
 * confirmed its dead letter or its copy in a retry queue.
 */
export class EnvelopeHandler {
  readonly #options: EnvelopeHandlerOptions;

  constructor(options: EnvelopeHandlerOptions) {
    this.#options = options;
  }

  async handle(delivery: Delivery): Promise<Settlement> {
    const { isolation, tracer, signal } = this.#options;
    const span = beginProcessing(tracer, delivery);
    try {
      await isolation.handle(delivery, (alone) => this.#route(delivery, alone));
      span.end();
      return 'ack';
    } catch (error) {
      span.end(error);
      if (signal.aborted) return 'requeue';
      throw error;
    }
  }

  async #route(delivery: Delivery, alone: boolean): Promise<void> {
    const { sizes } = this.#options;
    if (delivery.type === edgeReportType) {
      sizes.add(0, delivery.content.length);
      return this.#recordReport(delivery);
    }
    const decoded = decodeEnvelope(delivery.content);
    if (!decoded.ok) return this.#deadLetterMessage(delivery, 'unreadable', decoded.issue);
    const { readings, invalid } = decoded.value;
    sizes.add(readings.length + invalid.length, delivery.content.length);
    if (invalid.length > 0) {
      const history = failureHistoryOf(delivery);
      await this.#options.outcomes.deadLetter(invalid.map((member) => deadMember(member, history)));
    }
    if (readings.length > 0) await this.#store(delivery, readings, alone);
  }

  async #store(delivery: Delivery, items: readonly IdentifiedReading[], alone: boolean): Promise<void> {
    const { batcher, outcomes } = this.#options;
    const retries = attemptOf(delivery.headers);
    const isLastChance = retries >= retrySteps.length;
    let rejected: readonly RejectedReading[];
    try {
      rejected = await batcher.submit({
        delivery,
        items,
        // Reconciliation counts the readings of a replay apart.
        alone: alone || retries > 0 || isReplay(delivery),
        isLastChance,
      });
    } catch (error) {
      return this.#retryLater(delivery, items.length, error);
    }
    if (rejected.length === 0) return;
    const history = failureHistoryOf(delivery);
    await outcomes.deadLetter(
      rejected.map(({ reading, error }) => deadReading(reading, { ...history, error, reason: reasonOf(error) })),
    );
  }

  async #recordReport(delivery: Delivery): Promise<void> {
    const report = decodeEdgeReport(delivery.content);
    if (!report.ok) return this.#deadLetterMessage(delivery, 'unreadable', report.issue);
    try {
      await this.#options.recordEdgeReport(report.value);
    } catch (error) {
      if (attemptOf(delivery.headers) < retrySteps.length) return this.#retryLater(delivery, 0, error);
      this.#options.signal.throwIfAborted();
      await this.#deadLetterMessage(delivery, 'retries-exhausted', error);
    }
  }

  async #retryLater(delivery: Delivery, readings: number, error: unknown): Promise<void> {
    const { outcomes, signal } = this.#options;
    signal.throwIfAborted();
    const step = retrySteps[attemptOf(delivery.headers)];
    if (step === undefined) throw error;
    await outcomes.retryLater(delivery, readings, { step, history: failureHistoryOf(delivery), error });
  }

  #deadLetterMessage(delivery: Delivery, reason: 'unreadable' | 'retries-exhausted', error: unknown): Promise<void> {
    const failure = { ...failureHistoryOf(delivery), reason, error };
    return this.#options.outcomes.deadLetter([deadMessage(delivery.content, failure)]);
  }
}

/** An unknown failure rejects a reading only after the last retry. */
function reasonOf(error: unknown): 'older-than-retention' | 'refused-by-database' | 'retries-exhausted' {
  if (error instanceof OlderThanRetentionError) return 'older-than-retention';
  return classifyFailure(error) === 'bad-data' ? 'refused-by-database' : 'retries-exhausted';
}
