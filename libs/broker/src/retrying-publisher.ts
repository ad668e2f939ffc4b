import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import { correlationHeader } from '@fleetwire/contracts/event';
import { PublishError } from './errors.ts';
import type { BrokerLogger } from './connection.ts';
import type { Publication, Publisher } from './publisher.ts';
import { sleepUnlessAborted } from './waiting.ts';

export type RetryingPublish = (message: Publication) => Promise<void>;

/**
 * Does not grow. During an outage `whenWritable` waits; this delay is for messages that the broker nacked because a queue is full.
 * Random, from 0 to this time.
 */
const retryBackoff: Backoff = { baseMs: 1_000, capMs: 1_000 };

/**
 * Publishes until the broker has confirmed, without a time limit: for callers that still hold the original message and
 * acknowledge it afterwards.
 * @throws the signal's reason
 */
export function createRetryingPublisher(
  publisher: Publisher,
  signal: AbortSignal,
  logger: BrokerLogger,
): RetryingPublish {
  return async (message) => {
    for (let failures = 1; ; failures += 1) {
      await publisher.whenWritable(signal);
      try {
        await publisher.publish(message);
        return;
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        if (error.kind !== 'window-full') {
          logger.warn(
            { kind: error.kind, routingKey: message.routingKey, ...identityOf(message) },
            'message not confirmed, retrying',
          );
          await sleepUnlessAborted(backoffMs(retryBackoff, failures), signal);
          signal.throwIfAborted();
        }
      }
    }
  };
}

function identityOf({ messageId, headers }: Publication): object {
  return { messageId, correlationId: headers?.[correlationHeader] };
}
