import { randomUUID } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import type { RetryingPublish } from '@fleetwire/broker/retrying-publisher';
import { attemptOf, headersOfNextAttempt, isolatedHeader, stripDeathHeaders } from '@fleetwire/broker/retry-headers';
import type { Verdict } from '@fleetwire/broker/settled-prefix';
import { exchanges, queues, retryQueue, retrySteps, routingKeys } from '@fleetwire/broker/topology';
import { type DeadLetter, deadLetterType } from '@fleetwire/contracts/dead-letter';
import { type EdgeReport, decodeEdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import {
  type DecodedEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  envelopeSchemaVersion,
  envelopeType,
  runsOf,
} from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { replayHeader } from '@fleetwire/contracts/event';
import type { Logger } from '@fleetwire/runtime/logger';
import type { BatchBounds } from '@fleetwire/runtime/micro-batcher';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import type { Origin } from '@fleetwire/store/reconciliation-statements';
import type { IsolationAttempt } from '@fleetwire/store/isolation-attempts';
import { type PendingMessage, TransactionBatcher } from './transaction-batcher.ts';
import { type Failure, deadMember, deadMessage, deadReading } from './dead-lettering.ts';
import type { WorkerMetrics } from './metrics.ts';
import { isSuspect, suspectId, trialOf } from './quarantine.ts';
import type { Condemned, Storer } from './storer.ts';
import { beginProcessing, beginStoring, onwardHeaders, trailOf } from './trail.ts';
import { Turns } from './turns.ts';

const firstFailedAtHeader = 'x-fleetwire-first-failed-at';

export interface EnvelopeHandlerOptions {
  readonly storer: Storer;
  /** Enters a report of the edge in the books, once however often it is called. */
  readonly enterReport: (report: EdgeReport) => Promise<unknown>;
  /** Remembers, whatever happens to this process, which suspects were tried. */
  readonly trials: { begin(trial: IsolationAttempt): Promise<number>; end(trial: IsolationAttempt): Promise<unknown> };
  readonly publish: RetryingPublish;
  readonly bounds: BatchBounds;
  readonly transactionsMax: number;
  readonly messagesMax: number;
  readonly metrics: WorkerMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Why a single reading is refused for good. */
  readonly reasonOf: (error: unknown) => 'refused-by-database' | 'older-than-retention';
  /** Aborted when what is still held must be handed back. */
  readonly signal: AbortSignal;
}

/** Sees each message of the work queue to its end: its readings committed, or their dead letters or retry copy confirmed. */
export class EnvelopeHandler {
  readonly #options: EnvelopeHandlerOptions;
  readonly #batcher: TransactionBatcher;
  readonly #turns = new Turns();
  readonly #held = new Set<{ readonly oldestArrivalAt: number }>();

  constructor(options: EnvelopeHandlerOptions) {
    this.#options = options;
    this.#batcher = new TransactionBatcher({
      bounds: options.bounds,
      transactionsMax: options.transactionsMax,
      messagesMax: options.messagesMax,
      run: (batch) => this.#runBatch(batch),
    });
  }

  /** Transactions in flight. */
  get writersBusy(): number {
    return this.#batcher.running;
  }

  /** When the oldest reading arrived that waits here for its end, epoch milliseconds; undefined while none does. */
  get oldestArrivalAt(): number | undefined {
    let oldest: number | undefined;
    for (const { oldestArrivalAt } of this.#held) oldest = Math.min(oldest ?? oldestArrivalAt, oldestArrivalAt);
    return oldest;
  }

  async handle(delivery: Delivery): Promise<Verdict> {
    const span = beginProcessing(this.#options.tracer, delivery);
    try {
      await (isSuspect(delivery)
        ? this.#turns.alone(() => this.#try(delivery))
        : this.#turns.share(() => this.#see(delivery)));
      span.end();
      return 'done';
    } catch (error) {
      span.end(error);
      if (this.#options.signal.aborted) return 'requeue';
      throw error;
    }
  }

  /** Nothing else is handled meanwhile: if the process dies now, it is this message that killed it. */
  async #try(delivery: Delivery): Promise<void> {
    const { trials, logger } = this.#options;
    const trial = { messageId: suspectId(delivery), attemptId: randomUUID() };
    const unfinished = await trials.begin(trial);
    try {
      await this.#handleSuspect(delivery, unfinished);
    } finally {
      // Whatever came of it, the process has survived. A note that stays is prejudice, no harm.
      await trials
        .end(trial)
        .catch((error: unknown) =>
          logger.warn({ err: error, ...trailOf(delivery.headers, delivery.messageId) }, 'a trial stays noted'),
        );
    }
  }

  async #handleSuspect(delivery: Delivery, unfinished: number): Promise<void> {
    switch (trialOf({ unfinished, isIsolated: delivery.headers[isolatedHeader] === true })) {
      case 'alone':
        return this.#see(delivery, { alone: true });
      case 'apart':
        return this.#takeApart(delivery, unfinished);
      case 'unread':
        return this.#bury([deadMessage(delivery.content, { ...historyOf(delivery), ...killer(unfinished) })]);
    }
  }

  async #see(delivery: Delivery, { alone = false } = {}): Promise<void> {
    const history = historyOf(delivery);
    if (delivery.type === edgeReportType) return this.#enter(delivery, history);
    const decoded = decodeEnvelope(delivery.content);
    if (!decoded.ok)
      return this.#bury([deadMessage(delivery.content, { ...history, reason: 'unreadable', error: decoded.issue })]);
    await this.#bury(decoded.value.refused.map((member) => deadMember(member, history)));
    const { readings } = decoded.value;
    if (readings.length > 0) await this.#store(delivery, readings, { alone: alone || history.attempts > 1 }, history);
  }

  /** A suspect goes on in halves, until the single reading that does the harm stands by itself; that one is dead-lettered. */
  async #takeApart(delivery: Delivery, unfinished: number): Promise<void> {
    const decoded = decodeEnvelope(delivery.content);
    if (!decoded.ok || delivery.type === edgeReportType)
      return this.#bury([deadMessage(delivery.content, { ...historyOf(delivery), ...killer(unfinished) })]);
    await this.#bury(decoded.value.refused.map((member) => deadMember(member, historyOf(delivery))));
    const { readings } = decoded.value;
    if (readings.length > 1) return this.#halve(delivery, decoded.value);
    await this.#bury(
      readings.map((reading) => deadReading(reading, { ...historyOf(delivery), ...killer(unfinished) })),
    );
  }

  async #store(
    delivery: Delivery,
    readings: readonly IdentifiedReading[],
    { alone }: { alone: boolean },
    history: Omit<Failure, 'reason' | 'error'>,
  ): Promise<void> {
    const isLastChance = history.attempts > retrySteps.length;
    const origin = originOf(delivery);
    const held = { oldestArrivalAt: oldestArrival(readings) };
    this.#held.add(held);
    try {
      await this.#batcher.submit({
        items: readings,
        bytes: delivery.content.length,
        // The books tell what a replay stores from what came from the edge.
        alone: alone || origin === 'replay',
        isLastChance,
        origin,
        headers: delivery.headers,
      });
    } catch (error) {
      if (error instanceof CondemnedReadings) {
        const reason = isLastChance ? 'retries-exhausted' : undefined;
        return this.#bury(
          error.condemned.map((each) =>
            deadReading(each.reading, {
              ...history,
              error: each.error,
              reason: reason ?? this.#options.reasonOf(each.error),
            }),
          ),
        );
      }
      this.#options.signal.throwIfAborted();
      await this.#climb(delivery, readings.length, history, error);
    } finally {
      this.#held.delete(held);
    }
  }

  /** A report of the edge, for the books. */
  async #enter(delivery: Delivery, history: Omit<Failure, 'reason' | 'error'>): Promise<void> {
    const report = decodeEdgeReport(delivery.content);
    if (!report.ok)
      return this.#bury([deadMessage(delivery.content, { ...history, reason: 'unreadable', error: report.issue })]);
    try {
      await this.#options.enterReport(report.value);
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (history.attempts <= retrySteps.length) return this.#climb(delivery, 0, history, error);
      await this.#bury([deadMessage(delivery.content, { ...history, reason: 'retries-exhausted', error })]);
    }
  }

  async #runBatch(batch: readonly PendingMessage[]): Promise<void> {
    const { storer, metrics, logger, tracer } = this.#options;
    const readings = batch.length === 1 ? batch[0]!.items : batch.flatMap(({ items }) => items);
    const batchId = randomUUID();
    const span = beginStoring(tracer, batch, { batchId, readings: readings.length });
    const stopTimer = metrics.batchSeconds.startTimer();
    try {
      const { stored, duplicates, condemned } = await storer.store(readings, {
        origin: commonOrigin(batch),
        isLastChance: batch.every(({ isLastChance }) => isLastChance),
      });
      stopTimer();
      span.end();
      metrics.batchReadings.observe(readings.length);
      metrics.readings.inc({ outcome: 'stored' }, stored);
      metrics.readings.inc({ outcome: 'duplicate' }, duplicates);
      metrics.endToEndSeconds.observe(Math.max(0, Date.now() - oldestArrival(readings)) / 1_000);
      if (logger.isLevelEnabled('debug')) {
        for (const { headers, items } of batch)
          logger.debug({ ...trailOf(headers), batchId, readings: items.length }, 'envelope written');
      }
      for (const load of batch) settle(load, condemned);
    } catch (error) {
      span.end(error);
      for (const load of batch) load.promise.reject(error);
    }
  }

  /** A copy rests on the next step of the ladder; the original is done once the copy is confirmed. */
  async #climb(
    { content, headers, messageId, type }: Delivery,
    readings: number,
    { attempts, firstFailedAt }: Omit<Failure, 'reason' | 'error'>,
    error: unknown,
  ): Promise<void> {
    const step = retrySteps[attempts - 1];
    if (step === undefined) throw error;
    const { publish, metrics, logger } = this.#options;
    logger.warn(
      { err: error, step, readings, messageId, ...trailOf(headers, messageId) },
      'unknown failure, trying again later',
    );
    metrics.readings.inc({ outcome: 'retried-later' }, readings);
    await publish({
      exchange: exchanges.default,
      routingKey: retryQueue(step),
      messageId: messageId ?? '',
      type: type ?? envelopeType,
      contentType: 'application/json',
      headers: { ...headersOfNextAttempt(headers), [firstFailedAtHeader]: firstFailedAt },
      content,
    });
  }

  async #halve({ headers }: Delivery, { id, readings }: DecodedEnvelope): Promise<void> {
    const middle = Math.ceil(readings.length / 2);
    for (const [index, half] of [readings.slice(0, middle), readings.slice(middle)].entries()) {
      const messageId = `${id}/${index}`.slice(-64);
      await this.#options.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId,
        type: envelopeType,
        contentType: 'application/json',
        headers: { ...stripDeathHeaders(headers), [isolatedHeader]: true },
        content: encodeEnvelope({
          id: messageId,
          type: envelopeType,
          schemaVersion: envelopeSchemaVersion,
          occurredAt: Date.now(),
          runs: runsOf(half),
        }),
      });
    }
  }

  async #bury(deadLetters: readonly DeadLetter[]): Promise<void> {
    const { publish, metrics, logger } = this.#options;
    for (const letter of deadLetters) {
      await publish({
        exchange: exchanges.default,
        routingKey: queues.dead,
        messageId: letter.id,
        type: deadLetterType,
        contentType: 'application/json',
        headers: onwardHeaders(letter.headers),
        content: Buffer.from(JSON.stringify(letter)),
      });
      const { id: deadLetterId, reason, deviceId, epoch, seq } = letter;
      logger.debug({ ...trailOf(letter.headers ?? {}), deadLetterId, reason, deviceId, epoch, seq }, 'dead-lettered');
      metrics.deadLetters.inc({ reason: letter.reason });
      metrics.readings.inc({ outcome: 'dead-lettered' });
    }
  }
}

/** Some readings of a message can never be stored; all others of it are committed. */
class CondemnedReadings extends Error {
  readonly condemned: readonly Condemned[];

  constructor(condemned: readonly Condemned[]) {
    super(`${condemned.length} readings cannot be stored`);
    this.condemned = condemned;
  }
}

function settle({ items, promise }: PendingMessage, condemned: readonly Condemned[]): void {
  const own = condemned.length === 0 ? [] : condemned.filter(({ reading }) => items.includes(reading));
  if (own.length === 0) promise.resolve();
  else promise.reject(new CondemnedReadings(own));
}

/** What the books may take the duplicates of this delivery for. */
function originOf({ headers, redelivered, deliveryCount }: Delivery): Origin {
  if (headers[replayHeader] !== undefined) return 'replay';
  return redelivered || deliveryCount > 0 || attemptOf(headers) > 0 || headers[isolatedHeader] === true
    ? 'repeat'
    : 'first';
}

function commonOrigin(batch: readonly PendingMessage[]): Origin {
  const origins = new Set(batch.map(({ origin }) => origin));
  const [only = 'first'] = origins;
  return origins.size > 1 ? 'repeat' : only;
}

function oldestArrival(readings: readonly IdentifiedReading[]): number {
  return readings.reduce((oldest, { receivedAt }) => Math.min(oldest, receivedAt), Number.POSITIVE_INFINITY);
}

function historyOf(delivery: Delivery): Omit<Failure, 'reason' | 'error'> {
  const failedAt = Date.now();
  const { headers } = delivery;
  return { attempts: attemptOf(headers) + 1, firstFailedAt: firstFailedAtOf(delivery, failedAt), failedAt, headers };
}

function killer(trials: number): Pick<Failure, 'reason' | 'error'> {
  return {
    reason: 'kills-the-worker',
    error: { code: 'no-verdict', message: `${trials} trials of it alone came to no end` },
  };
}

function firstFailedAtOf({ headers }: Delivery, now: number): number {
  const value = headers[firstFailedAtHeader];
  return typeof value === 'number' ? value : now;
}
