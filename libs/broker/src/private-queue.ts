import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { BrokerConnection, BrokerLogger } from './connection.ts';
import { ConnectionClosedError } from './errors.ts';
import { settledWithin, sleepUnlessAborted } from './waiting.ts';

export interface PrivateQueueOptions {
  readonly logger: BrokerLogger;
  /** The connection's generation is appended: the queue of a lost connection may still exist. */
  readonly namePrefix: string;
  readonly exchange: string;
  readonly routingKeys: readonly string[];
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** What a full queue does: drop its oldest messages (by default), or refuse new ones, of which their publishers learn. */
  readonly overflow?: 'drop-head' | 'reject-publish';
  /** A message that throws is logged and dropped. */
  readonly onMessage: (content: Buffer, routingKey: string) => void;
  /** The queue exists and is bound: what is published from now on arrives. Called again after each loss. */
  readonly onBound: () => void;
}

export interface PrivateQueue {
  close(): Promise<void>;
}

const reopenBackoff: Backoff = { baseMs: 100, capMs: 5_000 };
const closeTimeoutMs = 1_000;

/**
 * Consumes an exclusive queue that the broker deletes with the connection, without acknowledgements: messages are lost with it, and when it
 * is full. For messages whose loss the receiver or the sender detects.
 */
export function openPrivateQueue(connection: BrokerConnection, options: PrivateQueueOptions): PrivateQueue {
  const { logger, namePrefix, exchange, routingKeys, messagesMax, bytesMax, onMessage, onBound } = options;
  const { overflow = 'drop-head' } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  let closeChannel: (() => Promise<void>) | undefined;

  const consume = async (): Promise<void> => {
    await connection.whenOpen(signal);
    const queue = `${namePrefix}.${connection.generation}`;
    const channel = await connection.openChannel();
    const lost = new Promise<void>((resolve) => channel.once('close', resolve));
    channel.on('error', (error: Error) => logger.warn({ queue, reason: error.message }, 'private queue lost'));
    closeChannel = () => channel.close();
    await channel.assertQueue(queue, {
      exclusive: true,
      durable: false,
      autoDelete: true,
      arguments: { 'x-max-length': messagesMax, 'x-max-length-bytes': bytesMax, 'x-overflow': overflow },
    });
    for (const routingKey of routingKeys) await channel.bindQueue(queue, exchange, routingKey);
    const deliver = (content: Buffer, routingKey: string): void => {
      try {
        onMessage(content, routingKey);
      } catch (error) {
        logger.error({ queue, err: error }, 'message handler threw; message dropped');
      }
    };
    await channel.consume(
      queue,
      (message) => {
        if (message !== null) deliver(message.content, message.fields.routingKey);
        else channel.close().catch(() => {});
      },
      { noAck: true },
    );
    onBound();
    await lost;
  };
  const run = async (): Promise<void> => {
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await consume();
        failures = 1;
      } catch (error) {
        if (error instanceof ConnectionClosedError || signal.aborted) return;
        logger.warn({ queue: namePrefix, reason: String(error) }, 'could not open the private queue, retrying');
      }
      await sleepUnlessAborted(backoffMs(reopenBackoff, failures), signal);
    }
  };
  const running = run();

  return {
    close: async () => {
      stopping.abort();
      if (closeChannel !== undefined)
        await settledWithin(
          closeChannel().catch(() => {}),
          closeTimeoutMs,
        );
      await settledWithin(running, closeTimeoutMs);
    },
  };
}
