import type { Delivery } from '@fleetwire/broker/delivery';
import { attemptOf } from '@fleetwire/broker/retry-headers';
import type { Verdict } from '@fleetwire/broker/settled-prefix';
import { type DeadLetter, deadLetterType, parseDeadLetter } from '@fleetwire/contracts/dead-letter';
import { decodeEnvelope, envelopeType } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import type { DatabaseGate } from './database-gate.ts';
import { deadMember, deadMessage, deadReading } from './dead-lettering.ts';
import { trailOf } from './trail.ts';

export interface DeadLetterDrainOptions {
  readonly insert: (deadLetters: readonly DeadLetter[]) => Promise<unknown>;
  readonly gate: DatabaseGate;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Moves dead letters from their queue into Postgres. Nothing is dropped: what cannot be written now is held. */
export function createDeadLetterDrain({
  insert,
  gate,
  logger,
  signal,
}: DeadLetterDrainOptions): (delivery: Delivery) => Promise<Verdict> {
  return async (delivery) => {
    const deadLetters = deadLettersOf(delivery);
    while (!signal.aborted) {
      try {
        await gate.pass(signal);
        await insert(deadLetters);
        return 'done';
      } catch (error) {
        if (signal.aborted) break;
        const { headers, messageId } = delivery;
        logger.error({ err: error, messageId, ...trailOf(headers) }, 'a dead letter could not be written yet');
        gate.close(error, signal);
      }
    }
    return 'requeue';
  };
}

/** Deliveries without a verdict after which a dead letter is kept as it came, unread: reading it may be what kills. */
const unreadDeliveries = 10;

/** One dead letter as we published it; or what the broker dead-lettered by itself, reading by reading; or any bytes as they are. */
function deadLettersOf(delivery: Delivery): DeadLetter[] {
  const { content, type, headers, deliveryCount } = delivery;
  if (type === deadLetterType && deliveryCount < unreadDeliveries) {
    const parsed = parseDeadLetter(jsonOf(content));
    if (parsed.ok) return [parsed.value];
  }
  const failedAt = delivery.timestampMs ?? Date.now();
  const history = { attempts: attemptOf(headers) + 1, firstFailedAt: failedAt, failedAt, headers };
  const firstDeath = headers['x-first-death-reason'];
  const error = {
    code: 'dead-lettered-by-broker',
    message: `the broker gave up: ${typeof firstDeath === 'string' ? firstDeath : 'no reason given'}`,
  };
  const failure = { ...history, reason: 'delivery-limit', error } as const;
  const envelope = type === envelopeType && deliveryCount < unreadDeliveries ? decodeEnvelope(content) : undefined;
  if (envelope?.ok !== true) return [deadMessage(content, failure)];
  const { readings, refused } = envelope.value;
  return [
    ...readings.map((reading) => deadReading(reading, failure)),
    ...refused.map((member) => deadMember(member, history)),
  ];
}

function jsonOf(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
