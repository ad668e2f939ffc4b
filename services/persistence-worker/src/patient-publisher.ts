import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '@fleetwire/broker/errors';
import type { Publication, Publisher } from '@fleetwire/broker/publisher';
import type { Logger } from '@fleetwire/service-kit/logger';

export type PublishPatiently = (message: Publication) => Promise<void>;

const pauseMs = 500;

/** Publishes until the broker has confirmed, however long that takes: the original stays unacknowledged meanwhile. */
export function createPatientPublisher(publisher: Publisher, signal: AbortSignal, logger: Logger): PublishPatiently {
  return async (message) => {
    for (;;) {
      await publisher.whenWritable(signal);
      try {
        await publisher.publish(message);
        return;
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        if (error.kind !== 'window-full') {
          logger.warn({ kind: error.kind, routingKey: message.routingKey }, 'a copy was not confirmed, trying again');
          await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal });
        }
      }
    }
  };
}
