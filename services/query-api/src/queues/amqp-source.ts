import { openBrokerConnection } from '@fleetwire/broker/connection';
import { fleetwireTopology } from '@fleetwire/broker/topology';
import type { Logger } from '@fleetwire/runtime/logger';
import type { QueueSample, QueueSource } from './queue-sample.ts';

export interface AmqpSource extends QueueSource {
  stop(): Promise<void>;
}

const declared = fleetwireTopology().queues;
/** Counts taken within less than this give no useful rate. */
const rateWindowMinMs = 900;

/**
 * Queues by passive declares (AMQP 0-9-1, `queue.declare` with `passive`): ready messages and consumers only. Bounds are those that we
 * declare. Unacknowledged messages are not counted, and the rate is the difference between two samples.
 */
export function amqpSource({ amqpUrl, logger }: { readonly amqpUrl: string; readonly logger: Logger }): AmqpSource {
  const connection = openBrokerConnection({ url: amqpUrl, name: 'query-api queues', logger });
  connection.opened.catch(() => {}); // `sample` rejects with the same error
  const before = new Map<string, { readonly at: number; readonly ready: number; readonly netRate: number | null }>();

  const look = async (name: string): Promise<{ ready: number; consumers: number } | undefined> => {
    const channel = await connection.openChannel();
    // Declaring a queue that does not exist closes the channel; `checkQueue` rejects with the same error.
    channel.on('error', () => {});
    try {
      const { messageCount, consumerCount } = await channel.checkQueue(name);
      await channel.close();
      return { ready: messageCount, consumers: consumerCount };
    } catch (error) {
      if ((error as { code?: unknown }).code === 404) return undefined;
      throw error;
    }
  };
  const netRateOf = (name: string, ready: number, at: number): number | null => {
    const last = before.get(name);
    if (last !== undefined && at - last.at < rateWindowMinMs) return last.netRate;
    const netRate = last === undefined ? null : ((ready - last.ready) * 1_000) / (at - last.at);
    before.set(name, { at, ready, netRate });
    return netRate;
  };

  return {
    sample: async (signal) => {
      await connection.whenOpen(signal);
      const at = Date.now();
      const queues: QueueSample[] = [];
      for (const queue of declared) {
        const seen = await look(queue.name);
        if (seen === undefined) continue;
        queues.push({
          name: queue.name,
          ...seen,
          unacked: null,
          inRate: null,
          outRate: null,
          netRate: netRateOf(queue.name, seen.ready, at),
          bytes: null,
          messagesMax: Number(queue.arguments['x-max-length']),
          bytesMax: Number(queue.arguments['x-max-length-bytes']),
        });
      }
      return {
        source: 'amqp',
        at,
        queues,
        alarms: connection.state === 'blocked' ? ['the broker blocks publishers'] : [],
      };
    },
    stop: () => connection.close(),
  };
}
