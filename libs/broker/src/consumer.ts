import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { correlationHeader } from '@fleetwire/contracts/event';
import type { Channel, ConsumeMessage } from 'amqplib';
import { backoffMs } from '@fleetwire/contracts/backoff';
import type { BrokerConnection } from './connection.ts';
import { deliveryOf, type Delivery } from './delivery.ts';
import { ConnectionClosedError } from './errors.ts';
import type { BrokerLogger } from './logger.ts';
import { createSettledPrefix, type SettledPrefix, type Verdict } from './settled-prefix.ts';
import { settledWithin, sleepUnlessAborted, until } from './waiting.ts';

export interface ConsumerOptions {
  logger: BrokerLogger;
  queue: string;
  /** Deliveries without a verdict, at most. To pause, hold the verdicts back: the broker then sends no more. */
  prefetch: number;
  /**
   * Those of lower priority get what this one has no room for; those of the same get turns. An integer.
   * Source: RabbitMQ documentation, "Consumer Priorities".
   */
  priority?: number;
  /**
   * Called once per delivery, in the queue's order, without waiting for earlier ones. Its verdict is final: `done`
   * removes the message from the queue, `requeue` hands it back for immediate redelivery. Throwing is a programming
   * error; it is logged and the message handed back, so that the queue's delivery limit ends it.
   */
  readonly handle: (delivery: Delivery) => Promise<Verdict>;
  resubscribeBaseMs?: number;
  resubscribeCapMs?: number;
  /** How long `drain` waits for the broker's answer, on top of its own time. */
  closeTimeoutMs?: number;
}

/** Numbers since the start, and `running` now. */
interface ConsumerStats {
  delivered: number;
  /** Acknowledgements sent; those that a dying connection swallowed come back as deliveries. */
  acked: number;
  requeued: number;
  handlerFailures: number;
  /** Verdicts on deliveries whose channel was lost meanwhile: dropped, the broker delivers the message again. */
  staleVerdicts: number;
  subscriptions: number;
  /** Handlers without a verdict. */
  running: number;
}

export interface Consumer {
  readonly subscribed: boolean;
  onSubscribedChange(listener: (subscribed: boolean) => void): () => void;
  whenSubscribed(signal?: AbortSignal): Promise<void>;
  stats(): ConsumerStats;
  /**
   * Takes nothing new, awaits the running handlers, acknowledges what they finished, hands the rest back and closes
   * the channel. False when handlers were still running after `timeoutMs`. The connection stays.
   */
  drain(timeoutMs: number): Promise<boolean>;
}

/** One `basic.consume` on one channel. Verdicts belong to it: delivery tags mean nothing on any other channel. */
interface Subscription {
  readonly channel: Channel;
  readonly consumerTag: string;
  readonly settled: SettledPrefix;
  live: boolean;
  flushing: boolean;
  readonly ended: PromiseWithResolvers<'cancelled' | 'channel lost'>;
}

/**
 * Consumes a queue and re-subscribes whenever the channel is lost or the broker cancels the consumer.
 * Give it another connection than the publisher's: a blocked publisher must not hold up acknowledgements.
 * Sources: RabbitMQ documentation, "Consumers", "Consumer Prefetch", "Consumer Cancel Notification".
 */
export function createConsumer(connection: BrokerConnection, options: ConsumerOptions): Consumer {
  const { logger, queue, prefetch, priority = 0, handle } = options;
  const { resubscribeBaseMs = 200, resubscribeCapMs = 10_000, closeTimeoutMs = 1_000 } = options;
  const stopping = new AbortController();
  const changes = new EventEmitter().setMaxListeners(0);
  const stats: ConsumerStats = {
    delivered: 0,
    acked: 0,
    requeued: 0,
    handlerFailures: 0,
    staleVerdicts: 0,
    subscriptions: 0,
    running: 0,
  };
  let current: Subscription | undefined;

  const onIdle = (listener: () => void) => {
    changes.on('idle', listener);
    return () => void changes.off('idle', listener);
  };
  const whenIdle = (signal: AbortSignal) => until(() => stats.running === 0, onIdle, signal);

  const onSubscribedChange = (listener: (subscribed: boolean) => void) => {
    changes.on('subscribed', listener);
    return () => void changes.off('subscribed', listener);
  };

  async function keepSubscribed() {
    for (let attempt = 0; !stopping.signal.aborted; attempt += 1) {
      try {
        await connection.whenOpen(stopping.signal);
        // Handlers of a lost channel still hold their messages; taking more now would exceed the prefetch.
        await whenIdle(stopping.signal);
        const subscription = await subscribe();
        if (stopping.signal.aborted) await closeSubscription(subscription);
        attempt = 0;
        const reason = await subscription.ended.promise;
        if (stopping.signal.aborted) return;
        logger.warn({ queue, reason }, 'subscription lost, subscribing again');
      } catch (error) {
        if (error instanceof ConnectionClosedError || stopping.signal.aborted) return;
        logger.warn({ queue, reason: String(error) }, 'cannot subscribe, trying on');
        // Perhaps the queue is not there any more: that is what cancels a consumer.
        if (connection.state === 'open') await connection.reassert().catch(() => {});
      }
      await sleepUnlessAborted(
        backoffMs({ baseMs: resubscribeBaseMs, capMs: resubscribeCapMs }, attempt + 1),
        stopping.signal,
      );
    }
  }

  async function subscribe(): Promise<Subscription> {
    const channel = await connection.openChannel();
    const subscription: Subscription = {
      channel,
      settled: createSettledPrefix(),
      consumerTag: randomUUID(),
      live: true,
      flushing: false,
      ended: Promise.withResolvers(),
    };
    channel.on('error', (error) => logger.warn({ queue, reason: error.message }, 'consuming channel lost'));
    channel.on('close', () => end(subscription, 'channel lost'));
    await channel.prefetch(prefetch);
    const onMessage = (message: ConsumeMessage | null) => {
      if (message === null) cancelled(subscription);
      else if (!stopping.signal.aborted) void work(subscription, message);
    };
    await channel.consume(queue, onMessage, { consumerTag: subscription.consumerTag, priority });
    if (!subscription.live) throw new Error('the channel was lost while subscribing');
    current = subscription;
    stats.subscriptions += 1;
    logger.info({ queue, prefetch, generation: connection.generation }, 'subscribed');
    changes.emit('subscribed', true);
    return subscription;
  }

  /** The broker ended the consumer, most likely because the queue was deleted. */
  function cancelled(subscription: Subscription) {
    end(subscription, 'cancelled');
    subscription.channel.close().catch(() => {});
  }

  function end(subscription: Subscription, reason: 'cancelled' | 'channel lost') {
    subscription.live = false;
    subscription.ended.resolve(reason);
    if (current !== subscription) return;
    current = undefined;
    changes.emit('subscribed', false);
  }

  async function work(subscription: Subscription, message: ConsumeMessage) {
    stats.delivered += 1;
    stats.running += 1;
    const verdict = await verdictOn(deliveryOf(message, () => !subscription.live));
    stats.running -= 1;
    if (subscription.live) settle(subscription, message, verdict);
    else stats.staleVerdicts += 1;
    if (stats.running === 0) changes.emit('idle');
  }

  async function verdictOn(delivery: Delivery): Promise<Verdict> {
    try {
      return await handle(delivery);
    } catch (error) {
      stats.handlerFailures += 1;
      const { messageId, headers } = delivery;
      const correlationId = headers[correlationHeader];
      logger.error({ queue, messageId, correlationId, err: error }, 'handler threw instead of giving a verdict');
      return 'requeue';
    }
  }

  function settle(subscription: Subscription, message: ConsumeMessage, verdict: Verdict) {
    subscription.settled.settle(message.fields.deliveryTag, verdict);
    if (verdict === 'requeue') {
      stats.requeued += 1;
      tell(subscription, ({ channel }) => channel.nack(message, false, true));
    }
    if (subscription.flushing) return;
    subscription.flushing = true;
    setImmediate(flush, subscription);
  }

  /** One acknowledgement for all verdicts of a tick, and the only place that acknowledges anything. */
  function flush(subscription: Subscription) {
    subscription.flushing = false;
    if (!subscription.live) return;
    const ack = subscription.settled.takeAck();
    if (ack === undefined) return;
    stats.acked += ack.messages;
    // amqplib reads nothing but the tag.
    const last = { fields: { deliveryTag: ack.upTo } } as ConsumeMessage;
    tell(subscription, ({ channel }) => channel.ack(last, true));
  }

  /** A connection that is just closing throws at its channels' users before it tells them. */
  function tell(subscription: Subscription, say: (subscription: Subscription) => void) {
    try {
      say(subscription);
    } catch {
      end(subscription, 'channel lost');
    }
  }

  /** The broker takes everything on the channel that has no acknowledgement back into the queue. */
  async function closeSubscription(subscription: Subscription) {
    flush(subscription);
    const closed = subscription.live ? subscription.channel.close() : Promise.resolve();
    end(subscription, 'channel lost');
    await settledWithin(closed, closeTimeoutMs);
  }

  const running = keepSubscribed();

  return {
    get subscribed() {
      return current !== undefined;
    },
    onSubscribedChange,
    whenSubscribed: (signal) => until(() => current !== undefined, onSubscribedChange, signal),
    stats: () => ({ ...stats }),
    async drain(timeoutMs) {
      stopping.abort();
      const last = current;
      const outOfTime = AbortSignal.timeout(timeoutMs);
      await Promise.all([
        settledWithin(whenIdle(outOfTime), timeoutMs),
        last === undefined || settledWithin(last.channel.cancel(last.consumerTag), timeoutMs),
      ]);
      const idle = stats.running === 0;
      if (last !== undefined) await closeSubscription(last);
      await settledWithin(running, closeTimeoutMs);
      logger.info({ queue, idle }, 'consumer drained');
      return idle;
    },
  };
}
