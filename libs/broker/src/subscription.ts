import { randomUUID } from 'node:crypto';
import type { Channel, ConsumeMessage } from 'amqplib';
import { createSettledPrefix, type Settlement } from './settled-prefix.ts';
import { settledWithin } from './waiting.ts';

export interface SubscriptionOptions {
  readonly queue: string;
  readonly prefetch: number;
  readonly priority: number;
  readonly onMessage: (subscription: Subscription, message: ConsumeMessage) => void;
  readonly onAcked: (messages: number) => void;
}

type Ending = 'cancelled' | 'channel lost';

/**
 * One `basic.consume` on one channel, and the acknowledgements of its messages. Its messages can be settled only through it: delivery
 * tags mean nothing on any other channel.
 */
export class Subscription {
  readonly #channel: Channel;
  readonly #options: SubscriptionOptions;
  readonly #consumerTag = randomUUID();
  readonly #settled = createSettledPrefix();
  readonly #ended = Promise.withResolvers<Ending>();
  #isLive = true;
  #isFlushing = false;

  private constructor(channel: Channel, options: SubscriptionOptions) {
    this.#channel = channel;
    this.#options = options;
    channel.on('close', () => this.#end('channel lost'));
  }

  /** @param channel its errors are the caller's to listen to */
  static async start(channel: Channel, options: SubscriptionOptions): Promise<Subscription> {
    const subscription = new Subscription(channel, options);
    await channel.prefetch(options.prefetch);
    const onMessage = (message: ConsumeMessage | null) => {
      if (message === null) subscription.#cancelled();
      else options.onMessage(subscription, message);
    };
    const consumer = { consumerTag: subscription.#consumerTag, priority: options.priority };
    await channel.consume(options.queue, onMessage, consumer);
    if (!subscription.#isLive) throw new Error('the channel was lost while subscribing');
    return subscription;
  }

  /** False when its channel is gone: the broker delivers its unacknowledged messages again. */
  get isLive(): boolean {
    return this.#isLive;
  }

  get ended(): Promise<Ending> {
    return this.#ended.promise;
  }

  settle(message: ConsumeMessage, settlement: Settlement): void {
    this.#settled.settle(message.fields.deliveryTag, settlement);
    if (settlement === 'requeue') this.#send(() => this.#channel.nack(message, false, true));
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(flushLater, this);
  }

  /** One acknowledgement for everything that was settled in a tick. No other code acknowledges messages. */
  flush(): void {
    this.#isFlushing = false;
    if (!this.#isLive) return;
    const ack = this.#settled.takeAck();
    if (ack === undefined) return;
    this.#options.onAcked(ack.messages);
    // amqplib reads nothing but the tag.
    const last = { fields: { deliveryTag: ack.upTo } } as ConsumeMessage;
    this.#send(() => this.#channel.ack(last, true));
  }

  /** Sends `basic.cancel`. Messages on their way are returned to the queue when the channel closes. */
  async cancel(timeoutMs: number): Promise<void> {
    await settledWithin(this.#channel.cancel(this.#consumerTag), timeoutMs);
  }

  /** The broker returns everything on the channel that is not acknowledged to the queue. */
  async close(timeoutMs: number): Promise<void> {
    this.flush();
    const closed = this.#isLive ? this.#channel.close() : Promise.resolve();
    this.#end('channel lost');
    await settledWithin(closed, timeoutMs);
  }

  /** The broker ended the consumer, most likely because the queue was deleted. */
  #cancelled(): void {
    this.#end('cancelled');
    this.#channel.close().catch(() => {});
  }

  #end(ending: Ending): void {
    this.#isLive = false;
    this.#ended.resolve(ending);
  }

  /** A connection that is closing throws in calls of its channels before it emits their `close`. */
  #send(call: () => void): void {
    try {
      call();
    } catch {
      this.#end('channel lost');
    }
  }
}

function flushLater(subscription: Subscription): void {
  subscription.flush();
}
