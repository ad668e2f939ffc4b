import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from '@fleetwire/broker/delivery';
import type { RetryingPublish } from '@fleetwire/broker/retrying-publisher';
import { attemptOf, headersOfNextAttempt } from '@fleetwire/broker/retry-headers';
import type { Settlement } from '@fleetwire/broker/settled-prefix';
import { exchanges, queues, retrySteps } from '@fleetwire/broker/topology';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import { type DeadLetter, deadLetterType, parseDeadLetter } from '@fleetwire/contracts/dead-letter';
import { decodeEnvelope, envelopeType } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import type { FailureClass } from '@fleetwire/store/failure';
import type { DatabaseGate } from './database-gate.ts';
import { deadMember, deadLetterAsBytes, deadMessage, deadReading } from './dead-letters.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import { correlationAndTraceHeaders, correlationOf } from './tracing.ts';

export interface DeadLetterDrainOptions {
  readonly outcomes: Pick<ReadingOutcomes, 'storeDeadLetters'>;
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
  readonly publish: RetryingPublish;
  /** Between two tries at a dead letter that Postgres refuses in every form. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Moves dead letters from their queue into Postgres. A dead letter is never dropped:
 * - While Postgres is unavailable it is held, as readings are.
 * - A dead letter whose row Postgres refuses is stored as raw bytes (base64), without device, epoch and seq.
 * - One that is refused in that form too goes to the end of the queue, after a pause that grows up to a bound.
 *   It delays neither readings nor other dead letters.
 */
export class DeadLetterDrain {
  readonly #options: DeadLetterDrainOptions;

  constructor(options: DeadLetterDrainOptions) {
    this.#options = options;
  }

  async handle(delivery: Delivery): Promise<Settlement> {
    try {
      await this.#store(deadLettersOf(delivery), delivery);
      return 'ack';
    } catch (error) {
      if (this.#options.signal.aborted) return 'requeue';
      throw error;
    }
  }

  async #store(deadLetters: readonly DeadLetter[], delivery: Delivery): Promise<void> {
    const { outcomes, gate, signal } = this.#options;
    try {
      await gate.retryWhileUnavailable(() => outcomes.storeDeadLetters(deadLetters));
    } catch (error) {
      signal.throwIfAborted();
      if (deadLetters.length === 1) return this.#storeRefused(deadLetters[0]!, error, delivery);
      for (const deadLetter of deadLetters) await this.#store([deadLetter], delivery);
    }
  }

  async #storeRefused(deadLetter: DeadLetter, refusal: unknown, delivery: Delivery): Promise<void> {
    const { outcomes, classify, gate, logger, signal } = this.#options;
    const attempt = delivery.type === deadLetterType ? attemptOf(delivery.headers) : 0;
    const { id: deadLetterId, reason, error: cause } = deadLetter;
    const fields = { err: refusal, deadLetterId, reason, cause, attempt, ...correlationOf(delivery.headers) };
    // An unknown failure may be temporary: only after as many attempts as there are retry steps is it handled like refused data.
    if (classify(refusal) === 'bad-data' || attempt >= retrySteps.length) {
      try {
        await gate.retryWhileUnavailable(() => outcomes.storeDeadLetters([deadLetterAsBytes(deadLetter, refusal)]));
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
