import { createHash, randomUUID } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import { isolatedHeader } from '@fleetwire/broker/retry-headers';
import { edgeReportType } from '@fleetwire/contracts/edge-report';
import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { decodeEnvelope } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Conflict } from '@fleetwire/store/batch-writer';
import type { IsolationAttempt } from '@fleetwire/store/isolation-attempts';
import { type EnvelopeTimes, timesOf } from '@fleetwire/store/positions/settled-envelope';
import { type Failure, deadMember, deadMessage, deadReading, failureHistoryOf } from './dead-letters.ts';
import { ReadWriteLock } from './read-write-lock.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import { correlationOf } from './tracing.ts';

export interface PoisonIsolationOptions {
  /** Attempts are recorded in Postgres, so that they are known after the process has crashed. */
  readonly beginAttempt: (attempt: IsolationAttempt) => Promise<number>;
  readonly endAttempt: (attempt: IsolationAttempt) => Promise<unknown>;
  readonly outcomes: ReadingOutcomes;
  readonly logger: Logger;
}

/**
 * What became of a message: its readings all have their final fate and its position is entered, or not yet; or another message carries
 * them on. `times` are those of the readings that may be stored.
 */
export type Fate =
  | { readonly is: 'carried-on' }
  | ({ readonly is: 'entered' } & ReadingFates)
  | ({ readonly is: 'settled'; readonly times?: EnvelopeTimes | undefined } & ReadingFates);

/** All other readings of the message are stored. */
export interface ReadingFates {
  readonly dead?: readonly DeadLetter[];
  /** Its duplicates whose content differs from the stored reading. */
  readonly conflicts?: readonly Conflict[];
}

/**
 * Handles messages so that a poison message, one that crashes the worker, is found and dead-lettered, down to the single reading.
 * A message that came back several times is handled while no other message is: if the process crashes then, that message caused it.
 */
export class PoisonIsolation {
  readonly #options: PoisonIsolationOptions;
  readonly #lock = new ReadWriteLock();

  constructor(options: PoisonIsolationOptions) {
    this.#options = options;
  }

  /** @param work handles the message; its argument: whether the message must share its transaction with no other */
  handle(delivery: Delivery, work: (alone: boolean) => Promise<Fate>): Promise<Fate> {
    return mayBePoison(delivery)
      ? this.#lock.exclusive(() => this.#attempt(delivery, work))
      : this.#lock.shared(() => work(false));
  }

  async #attempt(delivery: Delivery, work: (alone: boolean) => Promise<Fate>): Promise<Fate> {
    const { beginAttempt, endAttempt, logger } = this.#options;
    const attempt = { messageId: attemptKey(delivery), attemptId: randomUUID() };
    const unfinished = await beginAttempt(attempt);
    try {
      return await this.#takeStep(delivery, unfinished, work);
    } finally {
      // The process did not crash. If this delete fails, the attempt stays on record as unfinished: a redelivery of the message is handled
      // one step more strictly, and nothing is lost.
      await endAttempt(attempt).catch((error: unknown) =>
        logger.warn(
          { err: error, ...correlationOf(delivery.headers, delivery.messageId) },
          'failed to clear an isolation attempt',
        ),
      );
    }
  }

  async #takeStep(delivery: Delivery, unfinished: number, work: (alone: boolean) => Promise<Fate>): Promise<Fate> {
    switch (isolationStep({ unfinished, isIsolated: delivery.headers[isolatedHeader] === true })) {
      case 'retry-alone':
        return work(true);
      case 'split':
        return this.#split(delivery, unfinished);
      case 'dead-letter-unparsed':
        return this.#deadLetterUnparsed(delivery, unfinished);
    }
  }

  /** Publishes the halves of a poison message, which are isolated in turn, until a single reading is left; that one is dead-lettered. */
  async #split(delivery: Delivery, unfinished: number): Promise<Fate> {
    const { outcomes } = this.#options;
    const decoded = decodeEnvelope(delivery.content);
    if (!decoded.ok || delivery.type === edgeReportType) return this.#deadLetterUnparsed(delivery, unfinished);
    const { readings, invalid } = decoded.value;
    const history = failureHistoryOf(delivery);
    const dead = invalid.map((member) => deadMember(member, history));
    await outcomes.deadLetter(dead);
    if (readings.length > 1) {
      await outcomes.split(delivery, decoded.value);
      return { is: 'carried-on' };
    }
    const poison = readings.map((reading) => deadReading(reading, { ...history, ...poisonFailure(unfinished) }));
    await outcomes.deadLetter(poison);
    return { is: 'settled', times: timesOf(readings), dead: [...dead, ...poison] };
  }

  async #deadLetterUnparsed(delivery: Delivery, unfinished: number): Promise<Fate> {
    const failure = { ...failureHistoryOf(delivery), ...poisonFailure(unfinished) };
    const dead = [deadMessage(delivery.content, failure)];
    await this.#options.outcomes.deadLetter(dead);
    return { is: 'settled', dead };
  }
}

/** Unacknowledged deliveries after which a message may be poison (docs/decisions/0007-poison-messages.md). */
const deliveriesBeforeIsolation = 3;

/** The delivery count alone does not identify a poison message: it also rises for messages that a crashing worker had only prefetched. */
function mayBePoison({ deliveryCount, headers }: Delivery): boolean {
  return deliveryCount >= deliveriesBeforeIsolation || headers[isolatedHeader] === true;
}

type IsolationStep = 'retry-alone' | 'split' | 'dead-letter-unparsed';

/**
 * What to do with a message that may be poison.
 * @param unfinished earlier attempts to handle it alone during which the process ended
 * @param isIsolated the message is a half of one that has crashed the worker
 */
export function isolationStep({ unfinished, isIsolated }: { unfinished: number; isIsolated: boolean }): IsolationStep {
  const attemptsAlone = isIsolated ? 1 : 2;
  if (unfinished < attemptsAlone) return 'retry-alone';
  return unfinished === attemptsAlone ? 'split' : 'dead-letter-unparsed';
}

/** The name under which attempts at a message are recorded. The copy in a retry queue of a message without an id has an empty one. */
export function attemptKey({ messageId, content }: Pick<Delivery, 'messageId' | 'content'>): string {
  return messageId || createHash('sha256').update(content).digest('hex');
}

function poisonFailure(attempts: number): Pick<Failure, 'reason' | 'error'> {
  return {
    reason: 'kills-the-worker',
    error: { code: 'no-verdict', message: `the process ended during ${attempts} attempts to handle the message alone` },
  };
}
