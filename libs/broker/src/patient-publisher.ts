import { correlationHeader } from '@fleetwire/contracts/event';
import { pause } from './backoff.ts';
import { PublishError } from './errors.ts';
import type { BrokerLogger } from './logger.ts';
import type { Publication, Publisher } from './publisher.ts';

export type PublishPatiently = (message: Publication) => Promise<void>;

const pauseMs = 500;

/**
 * Publishes until the broker has confirmed, however long that takes: for whoever still holds the original meanwhile.
 * @throws the signal's reason
 */
export function createPatientPublisher(
  publisher: Publisher,
  signal: AbortSignal,
  logger: BrokerLogger,
): PublishPatiently {
  return async (message) => {
    for (;;) {
      await publisher.whenWritable(signal);
      try {
        await publisher.publish(message);
        return;
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        if (error.kind !== 'window-full') {
          logger.warn(
            { kind: error.kind, routingKey: message.routingKey, ...namesOf(message) },
            'a message was not confirmed, trying again',
          );
          await pause(pauseMs * (0.5 + Math.random()), signal);
          signal.throwIfAborted();
        }
      }
    }
  };
}

function namesOf({ messageId, headers }: Publication): object {
  return { messageId, correlationId: headers?.[correlationHeader] };
}
