import type { Delivery } from '@fleetwire/broker/delivery';
import { attemptOf } from '@fleetwire/broker/retry-headers';
import type { Settlement } from '@fleetwire/broker/settled-prefix';
import { retrySteps } from '@fleetwire/broker/topology';
import { type EdgeReport, decodeEdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import { decodeEnvelope } from '@fleetwire/contracts/envelope';
import { positionOf } from '@fleetwire/contracts/envelope-position';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { storedNoticeHeader } from '@fleetwire/contracts/stored-notice';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import type { Conflict } from '@fleetwire/store/batch-writer';
import { OlderThanRetentionError, StreamLimitError, classifyFailure } from '@fleetwire/store/failure';
import { type SettledEnvelope, timesOf } from '@fleetwire/store/positions/settled-envelope';
import { deadMember, deadMessage, deadReading, failureHistoryOf } from './dead-letters.ts';
import type { Fate, PoisonIsolation } from './poison-isolation.ts';
import type { MessageSizes } from './message-sizes.ts';
import { type ReadingOutcomes, isReplay } from './reading-outcomes.ts';
import type { StoredNotices } from './stored-notices.ts';
import { beginProcessing } from './tracing.ts';
import type { StoredMessage, TransactionBatcher } from './transaction-batcher.ts';

export interface EnvelopeHandlerOptions {
  readonly isolation: PoisonIsolation;
  readonly batcher: TransactionBatcher;
  readonly outcomes: ReadingOutcomes;
  readonly sizes: MessageSizes;
  readonly notices: Pick<StoredNotices, 'add'>;
  /** Enters a report of the edge for reconciliation, once however often it is called. */
  readonly recordEdgeReport: (report: EdgeReport) => Promise<unknown>;
  /** Enters that an envelope is settled. */
  readonly settle: (envelope: SettledEnvelope) => Promise<void>;
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
      const fate = await isolation.handle(delivery, (alone) => this.#route(delivery, alone));
      if (delivery.headers[storedNoticeHeader] === true && fate.is !== 'carried-on')
        this.#options.notices.add(delivery.headers, fate);
      if (fate.is === 'settled') await this.#settle(delivery, fate.times);
      span.end();
      return 'ack';
    } catch (error) {
      span.end(error);
      if (signal.aborted) return 'requeue';
      throw error;
    }
  }

  async #route(delivery: Delivery, alone: boolean): Promise<Fate> {
    const { sizes } = this.#options;
    if (delivery.type === edgeReportType) {
      sizes.add(0, delivery.content.length);
      return this.#recordReport(delivery);
    }
    const decoded = decodeEnvelope(delivery.content);
    if (!decoded.ok) return this.#deadLetterMessage(delivery, 'unreadable', decoded.issue);
    const { readings, invalid } = decoded.value;
    sizes.add(readings.length + invalid.length, delivery.content.length);
    const fate: Fate = readings.length > 0 ? await this.#store(delivery, readings, alone) : { is: 'settled' };
    if (invalid.length === 0 || fate.is === 'carried-on') return fate;
    // Last: what is delivered or retried again carries them too, and would count them again.
    const history = failureHistoryOf(delivery);
    const dead = invalid.map((member) => deadMember(member, history));
    await this.#options.outcomes.deadLetter(dead);
    return { ...fate, dead: [...(fate.dead ?? []), ...dead] };
  }

  async #store(delivery: Delivery, items: readonly IdentifiedReading[], alone: boolean): Promise<Fate> {
    const { batcher, outcomes } = this.#options;
    const retries = attemptOf(delivery.headers);
    const isLastChance = retries >= retrySteps.length;
    let stored: StoredMessage;
    try {
      stored = await batcher.submit({
        delivery,
        items,
        // Reconciliation counts the readings of a replay apart.
        alone: alone || retries > 0 || isReplay(delivery),
        isLastChance,
      });
    } catch (error) {
      return this.#retryLater(delivery, items.length, error);
    }
    const { rejected, isPositionEntered } = stored;
    const conflicts = delivery.headers[storedNoticeHeader] === true ? ownConflicts(items, stored.conflicts) : [];
    if (isPositionEntered && !isHalf(delivery)) return { is: 'entered', conflicts };
    const history = failureHistoryOf(delivery);
    const dead = rejected.map(({ reading, error }) =>
      deadReading(reading, { ...history, error, reason: reasonOf(error) }),
    );
    await outcomes.deadLetter(dead);
    return { is: 'settled', times: timesOf(items), dead, conflicts };
  }

  /** For an envelope whose position is not in the transaction of its readings: it was bisected, is a half, or has none that is stored. */
  async #settle(delivery: Delivery, times: SettledEnvelope['times']): Promise<void> {
    const position = positionOf(delivery.headers);
    if (position === undefined) return;
    try {
      await this.#options.settle({ position, times });
    } catch (error) {
      await this.#retryLater(delivery, 0, error);
    }
  }

  async #recordReport(delivery: Delivery): Promise<Fate> {
    const report = decodeEdgeReport(delivery.content);
    if (!report.ok) return this.#deadLetterMessage(delivery, 'unreadable', report.issue);
    try {
      await this.#options.recordEdgeReport(report.value);
      return { is: 'settled' };
    } catch (error) {
      if (attemptOf(delivery.headers) < retrySteps.length) return this.#retryLater(delivery, 0, error);
      this.#options.signal.throwIfAborted();
      return this.#deadLetterMessage(delivery, 'retries-exhausted', error);
    }
  }

  async #retryLater(delivery: Delivery, readings: number, error: unknown): Promise<Fate> {
    const { outcomes, signal } = this.#options;
    signal.throwIfAborted();
    const step = retrySteps[attemptOf(delivery.headers)];
    if (step === undefined) throw error;
    await outcomes.retryLater(delivery, readings, { step, history: failureHistoryOf(delivery), error });
    return { is: 'carried-on' };
  }

  async #deadLetterMessage(
    delivery: Delivery,
    reason: 'unreadable' | 'retries-exhausted',
    error: unknown,
  ): Promise<Fate> {
    const failure = { ...failureHistoryOf(delivery), reason, error };
    const dead = [deadMessage(delivery.content, failure)];
    await this.#options.outcomes.deadLetter(dead);
    return { is: 'settled', dead };
  }
}

function ownConflicts(items: readonly IdentifiedReading[], conflicts: readonly Conflict[]): readonly Conflict[] {
  if (conflicts.length === 0) return conflicts;
  const identityOf = ({ deviceId, epoch, seq }: Conflict | IdentifiedReading): string =>
    `${deviceId}\n${epoch}\n${seq}`;
  const own = new Set(items.map(identityOf));
  return conflicts.filter((conflict) => own.has(identityOf(conflict)));
}

function isHalf({ headers }: Delivery): boolean {
  return (positionOf(headers)?.part ?? '') !== '';
}

/** An unknown failure rejects a reading only after the last retry. */
function reasonOf(
  error: unknown,
): 'older-than-retention' | 'too-many-streams' | 'refused-by-database' | 'retries-exhausted' {
  if (error instanceof StreamLimitError) return 'too-many-streams';
  if (error instanceof OlderThanRetentionError) return 'older-than-retention';
  return classifyFailure(error) === 'bad-data' ? 'refused-by-database' : 'retries-exhausted';
}
