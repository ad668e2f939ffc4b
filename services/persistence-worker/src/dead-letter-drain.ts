import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from '@fleetwire/broker/delivery';
import type { RetryingPublish } from '@fleetwire/broker/retrying-publisher';
import { attemptOf, headersOfNextAttempt } from '@fleetwire/broker/retry-headers';
import type { Settlement } from '@fleetwire/broker/settled-prefix';
import { exchanges, queues, retrySteps } from '@fleetwire/broker/topology';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import { type DeadLetter, deadLetterType, parseDeadLetter } from '@fleetwire/contracts/dead-letter';
import { type EdgeReport, decodeEdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import { decodeEnvelope, envelopeType } from '@fleetwire/contracts/envelope';
import { positionOf } from '@fleetwire/contracts/envelope-position';
import { storedNoticeHeader } from '@fleetwire/contracts/stored-notice';
import type { Logger } from '@fleetwire/runtime/logger';
import type { FailureClass } from '@fleetwire/store/failure';
import type { SettledEnvelope } from '@fleetwire/store/positions/settled-envelope';
import type { DatabaseGate } from './database-gate.ts';
import { DeadLetterBatcher } from './dead-letter-batcher.ts';
import { deadMember, deadLetterAsBytes, deadMessage, deadReading } from './dead-letters.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import type { StoredNotices } from './stored-notices.ts';
import { correlationAndTraceHeaders, correlationOf } from './tracing.ts';

export interface DeadLetterDrainOptions {
  readonly outcomes: Pick<ReadingOutcomes, 'storeDeadLetters'>;
  readonly notices: Pick<StoredNotices, 'add'>;
  /** Enters a report of the edge for reconciliation, once however often it is called. */
  readonly recordEdgeReport: (report: EdgeReport) => Promise<unknown>;
  /** Enters that an envelope is settled. */
  readonly settle: (envelope: SettledEnvelope) => Promise<void>;
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
  readonly publish: RetryingPublish;
  /** Between two tries at a dead letter that Postgres refuses in every form. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Batches of dead letters that are being written to Postgres at the same time. */
  readonly writesMax: number;
}

/** Statement timeouts of the same dead letters, while Postgres answers probes, after which they are written in two batches. */
const timeoutsBeforeHalving = 3;

/**
 * Moves dead letters from their queue into Postgres, in batches. A message is acknowledged when all its dead letters are committed. A dead
 * letter is never dropped:
 * - While Postgres is unavailable it is held, as readings are.
 * - A dead letter whose row Postgres refuses is stored as raw bytes (base64), without device, epoch and seq.
 * - One that is refused in that form too goes to the end of the queue, after a pause that grows up to a bound.
 *   It delays neither readings nor other dead letters.
 * An edge report that the broker has dead-lettered, because its workers ended again and again, is entered here and is no dead letter.
 */
export class DeadLetterDrain {
  readonly #options: DeadLetterDrainOptions;
  /** Its writes are bounded: otherwise they would use up the connections of the readings, and a wait for a connection would look like an outage. */
  readonly #batcher: DeadLetterBatcher;

  constructor(options: DeadLetterDrainOptions) {
    this.#options = options;
    const { outcomes, gate, writesMax } = options;
    this.#batcher = new DeadLetterBatcher({
      insert: (deadLetters) =>
        gate.retryWhileUnavailable(
          () => outcomes.storeDeadLetters(deadLetters),
          deadLetters.length > 1 ? { timeoutsMax: timeoutsBeforeHalving } : {},
        ),
      writesMax,
    });
  }

  async handle(delivery: Delivery): Promise<Settlement> {
    try {
      if (await this.#recordReport(delivery)) return 'ack';
      const dead = deadLettersOf(delivery);
      await Promise.all(dead.map((deadLetter) => this.#store(deadLetter, delivery)));
      if (delivery.headers[storedNoticeHeader] === true) this.#options.notices.add(delivery.headers, { dead });
      // The broker dead-lettered an envelope: no worker has settled it.
      const position = positionOf(delivery.headers);
      if (position !== undefined) await this.#options.settle({ position, times: undefined });
      return 'ack';
    } catch (error) {
      if (this.#options.signal.aborted) return 'requeue';
      throw error;
    }
  }

  /** @returns false where the message is none, or must not be parsed */
  async #recordReport({ type, content, deliveryCount }: Delivery): Promise<boolean> {
    if (type !== edgeReportType || deliveryCount >= unparsedDeliveries) return false;
    const report = decodeEdgeReport(content);
    if (report.ok) await this.#options.recordEdgeReport(report.value);
    return report.ok;
  }

  async #store(deadLetter: DeadLetter, delivery: Delivery): Promise<void> {
    try {
      await this.#batcher.write(deadLetter);
    } catch (error) {
      this.#options.signal.throwIfAborted();
      await this.#storeRefused(deadLetter, error, delivery);
    }
  }

  async #storeRefused(deadLetter: DeadLetter, refusal: unknown, delivery: Delivery): Promise<void> {
    const { classify, logger, signal } = this.#options;
    const attempt = delivery.type === deadLetterType ? attemptOf(delivery.headers) : 0;
    const { id: deadLetterId, reason, error: cause } = deadLetter;
    const fields = { err: refusal, deadLetterId, reason, cause, attempt, ...correlationOf(delivery.headers) };
    // An unknown failure may be temporary: only after as many attempts as there are retry steps is it handled like refused data.
    if (classify(refusal) === 'bad-data' || attempt >= retrySteps.length) {
      try {
        await this.#batcher.write(deadLetterAsBytes(deadLetter, refusal));
        logger.error(
          fields,
          'dead letter refused by Postgres; stored as raw bytes (base64), without device, epoch and seq',
        );
        return;
      } catch (error) {
        signal.throwIfAborted();
        fields.err = error;
      }
    }
    logger.error(fields, 'dead letter refused by Postgres; trying again later');
    await this.#tryLater(deadLetter, attempt, delivery);
  }

  /** A copy at the end of the queue, because a requeued message returns to the front, where it would block the others. */
  async #tryLater(deadLetter: DeadLetter, attempt: number, { type, headers }: Delivery): Promise<void> {
    const { publish, backoff, signal } = this.#options;
    await sleep(backoffMs(backoff, attempt + 1), undefined, { signal });
    await publish({
      exchange: exchanges.default,
      routingKey: queues.dead,
      messageId: deadLetter.id,
      type: deadLetterType,
      contentType: 'application/json',
      headers: headersOfNextAttempt(type === deadLetterType ? headers : correlationAndTraceHeaders(headers)),
      content: Buffer.from(JSON.stringify(deadLetter)),
    });
  }
}

/** Unacknowledged deliveries after which a dead letter is stored without being parsed: parsing may be what crashes the worker. */
const unparsedDeliveries = 10;

/** The dead letter that a worker has published; or one for each reading of a message that the broker has dead-lettered; or the bytes of any other message. */
function deadLettersOf(delivery: Delivery): DeadLetter[] {
  const { content, type, headers, deliveryCount } = delivery;
  if (type === deadLetterType && deliveryCount < unparsedDeliveries) {
    const parsed = parseDeadLetter(jsonOf(content));
    if (parsed.ok) return [parsed.value];
  }
  const failedAt = delivery.timestampMs ?? Date.now();
  const history = { attempts: attemptOf(headers) + 1, firstFailedAt: failedAt, failedAt, headers };
  const firstDeath = headers['x-first-death-reason'];
  const error = {
    code: 'dead-lettered-by-broker',
    message: `dead-lettered by the broker: ${typeof firstDeath === 'string' ? firstDeath : 'no reason given'}`,
  };
  const failure = { ...history, reason: 'delivery-limit', error } as const;
  const envelope = type === envelopeType && deliveryCount < unparsedDeliveries ? decodeEnvelope(content) : undefined;
  if (envelope?.ok !== true) return [deadMessage(content, failure)];
  const { readings, invalid } = envelope.value;
  return [
    ...readings.map((reading) => deadReading(reading, failure)),
    ...invalid.map((member) => deadMember(member, history)),
  ];
}

function jsonOf(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
