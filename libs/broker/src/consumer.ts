import { EventEmitter } from 'node:events';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import { correlationHeader } from '@fleetwire/contracts/event';
import type { ConsumeMessage } from 'amqplib';
import type { BrokerConnection, BrokerLogger } from './connection.ts';
import { deliveryOf, type Delivery } from './delivery.ts';
import { ConnectionClosedError } from './errors.ts';
import type { Settlement } from './settled-prefix.ts';
import { Subscription } from './subscription.ts';
import { settledWithin, sleepUnlessAborted, until } from './waiting.ts';

export interface ConsumerOptions {
  readonly logger: BrokerLogger;
  readonly queue: string;
  /** Maximum number of unacknowledged deliveries. To pause, let the handlers wait: the broker then sends no more. */
  readonly prefetch: number;
  /**
   * An integer. Consumers of lower priority get messages only while this one has reached its prefetch; those of equal priority
   * share them. Source: RabbitMQ documentation, "Consumer Priorities".
   */
  readonly priority?: number;
  /**
   * Called once per delivery, in the queue's order, without waiting for earlier ones. Its result is final: `ack` removes the
   * message from the queue, `requeue` returns it for immediate redelivery. Throwing is a programming error: it is logged and the
   * message requeued, until the queue's delivery limit dead-letters it. Without a pause, because acknowledgements of all later messages would
   * wait for it (settled-prefix.ts); the delivery limit bounds the repetitions.
   */
  readonly handle: (delivery: Delivery) => Promise<Settlement>;
  /** Between attempts to subscribe; tests shorten it. */
  readonly resubscribeBackoff?: Backoff;
  /** How long `drain` waits for the broker's answer, in addition to its own time; tests shorten it. */
  readonly closeTimeoutMs?: number;
}

/** Counts since the start, and `running` now. Logged when the consumer is drained. */
interface ConsumerStats {
  delivered: number;
  /** Messages whose acknowledgement was sent; the broker delivers them again if the connection is lost with it. */
  acked: number;
  requeued: number;
  handlerFailures: number;
  /** Settlements that were dropped because the channel of the delivery was lost; the broker delivers the message again. */
  droppedSettlements: number;
  subscriptions: number;
  /** Unfinished handlers. */
  running: number;
}

export interface Consumer {
  readonly subscribed: boolean;
  /** Tests observe acknowledgements by it. */
  stats(): ConsumerStats;
  /**
   * Accepts no new deliveries, awaits the running handlers, acknowledges what they finished, returns the other messages to the
   * queue and closes the channel. False when handlers were still running after `timeoutMs`. The connection stays open.
   */
  drain(timeoutMs: number): Promise<boolean>;
}

/**
 * Consumes a queue, and subscribes again whenever the channel is lost or the broker cancels the consumer.
 * Use another connection than the publisher's: a blocked publisher must not delay acknowledgements.
 * Sources: RabbitMQ documentation, "Consumers", "Consumer Prefetch", "Consumer Cancel Notification".
 */
export function createConsumer(connection: BrokerConnection, options: ConsumerOptions): Consumer {
  return new ResubscribingConsumer(connection, options);
}

const defaults = { priority: 0, resubscribeBackoff: { baseMs: 200, capMs: 10_000 }, closeTimeoutMs: 1_000 };

class ResubscribingConsumer implements Consumer {
  readonly #connection: BrokerConnection;
  readonly #options: Required<ConsumerOptions>;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  readonly #stats: ConsumerStats = {
    delivered: 0,
    acked: 0,
    requeued: 0,
    handlerFailures: 0,
    droppedSettlements: 0,
    subscriptions: 0,
    running: 0,
  };
  #subscription: Subscription | undefined;

  constructor(connection: BrokerConnection, options: ConsumerOptions) {
    this.#connection = connection;
    this.#options = { ...defaults, ...options };
    this.#running = this.#keepSubscribed();
  }

  get subscribed(): boolean {
    return this.#subscription?.isLive === true;
  }

  stats(): ConsumerStats {
    return { ...this.#stats };
  }

  async drain(timeoutMs: number): Promise<boolean> {
    this.#stopping.abort();
    const { logger, queue, closeTimeoutMs } = this.#options;
    const last = this.subscribed ? this.#subscription : undefined;
    await Promise.all([
      settledWithin(this.#whenIdle(AbortSignal.timeout(timeoutMs)), timeoutMs),
      last?.cancel(timeoutMs),
    ]);
    const isIdle = this.#stats.running === 0;
    await last?.close(closeTimeoutMs);
    await settledWithin(this.#running, closeTimeoutMs);
    logger.info({ queue, idle: isIdle, ...this.#stats }, 'consumer drained');
    return isIdle;
  }

  async #keepSubscribed(): Promise<void> {
    const stopping = this.#stopping.signal;
    const { logger, queue, resubscribeBackoff, closeTimeoutMs } = this.#options;
    for (let failures = 1; !stopping.aborted; failures += 1) {
      try {
        await this.#connection.whenOpen(stopping);
        // Handlers of a lost channel still hold their messages; accepting more now would exceed the prefetch.
        await this.#whenIdle(stopping);
        this.#subscription = await this.#subscribe();
        if (stopping.aborted) await this.#subscription.close(closeTimeoutMs);
        failures = 1;
        const reason = await this.#subscription.ended;
        if (stopping.aborted) return;
        logger.warn({ queue, reason }, 'subscription lost, subscribing again');
      } catch (error) {
        if (error instanceof ConnectionClosedError || stopping.aborted) return;
        logger.warn({ queue, reason: String(error) }, 'could not subscribe, retrying');
        // A deleted queue cancels its consumers: declare it again.
        if (this.#connection.state === 'open') await this.#connection.redeclareTopology().catch(() => {});
      }
      await sleepUnlessAborted(backoffMs(resubscribeBackoff, failures), stopping);
    }
  }

  async #subscribe(): Promise<Subscription> {
    const { logger, queue, prefetch, priority } = this.#options;
    const channel = await this.#connection.openChannel();
    channel.on('error', (error: Error) => logger.warn({ queue, reason: error.message }, 'consuming channel lost'));
    const subscription = await Subscription.start(channel, {
      queue,
      prefetch,
      priority,
      onMessage: (from, message) => {
        if (!this.#stopping.signal.aborted) void this.#work(from, message);
      },
      onAcked: (messages) => (this.#stats.acked += messages),
    });
    this.#stats.subscriptions += 1;
    logger.info({ queue, prefetch, generation: this.#connection.generation }, 'subscribed');
    return subscription;
  }

  async #work(subscription: Subscription, message: ConsumeMessage): Promise<void> {
    const stats = this.#stats;
    stats.delivered += 1;
    stats.running += 1;
    const settlement = await this.#handle(deliveryOf(message));
    stats.running -= 1;
    if (!subscription.isLive) stats.droppedSettlements += 1;
    else {
      if (settlement === 'requeue') stats.requeued += 1;
      subscription.settle(message, settlement);
    }
    if (stats.running === 0) this.#changes.emit('idle');
  }

  async #handle(delivery: Delivery): Promise<Settlement> {
    const { handle, logger, queue } = this.#options;
    try {
      return await handle(delivery);
    } catch (error) {
      this.#stats.handlerFailures += 1;
      const { messageId, headers } = delivery;
      const correlationId = headers[correlationHeader];
      logger.error({ queue, messageId, correlationId, err: error }, 'message handler threw; message requeued');
      return 'requeue';
    }
  }

  #whenIdle(signal: AbortSignal): Promise<void> {
    const onIdle = (listener: () => void) => {
      this.#changes.on('idle', listener);
      return () => void this.#changes.off('idle', listener);
    };
    return until(() => this.#stats.running === 0, onIdle, signal);
  }
}
