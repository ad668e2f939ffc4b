import { EventEmitter } from 'node:events';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { ConfirmChannel } from 'amqplib';
import type { BrokerConnection, BrokerLogger } from './connection.ts';
import { ConnectionClosedError, PublishError, replyCode, replyCodes } from './errors.ts';
import { PublishChannel, type Publication } from './publish-channel.ts';
import { PublishWindow, type WindowBounds } from './publish-window.ts';
import { sleepUnlessAborted, until } from './waiting.ts';

export type { Publication };

export interface PublisherOptions extends WindowBounds {
  readonly logger: BrokerLogger;
  /** How long the broker may take to confirm before the message is given up and the channel replaced. */
  readonly confirmTimeoutMs: number;
  /** A message that no queue takes is an answer, as for a command to an edge that is gone; else the topology is asserted again. */
  readonly areReturnsExpected?: boolean;
  /** Between attempts to open a channel; tests shorten it. */
  readonly reopenBackoff?: Backoff;
  /** How long `close` waits for the broker's answer; tests shorten it. */
  readonly closeTimeoutMs?: number;
}

export interface Publisher {
  /**
   * Resolves only when the broker has confirmed the message and has not returned it. Never waits for room: while `writable` is
   * false it rejects immediately. While it is true, it can still reject immediately: as `unavailable` when the channel closes at this
   * moment, or with amqplib's own error when the headers cannot be encoded.
   *
   * @throws {PublishError} whose `kind` says what is known about the message
   */
  publish(message: Publication): Promise<void>;
  /** Connected, not blocked, and room in the window and in the channel's own write buffer. */
  readonly writable: boolean;
  onWritableChange(listener: (writable: boolean) => void): () => void;
  /** Rejects with the signal's reason, or when the publisher was closed. */
  whenWritable(signal?: AbortSignal): Promise<void>;
  /** Messages without a confirm, and the bytes of their content; tests find leaks by it. */
  readonly inFlight: { readonly messages: number; readonly bytes: number };
  /** Rejects the messages in flight and closes the channel; the connection stays open. */
  close(): Promise<void>;
}

/**
 * Publishes with confirms on a channel of its own, and opens a new one whenever that is lost.
 * Sources: RabbitMQ documentation, "Consumer Acknowledgements and Publisher Confirms" and "Publishers".
 */
export function createPublisher(connection: BrokerConnection, options: PublisherOptions): Publisher {
  return new ReopeningPublisher(connection, options);
}

const checksPerTimeout = 8;

class ReopeningPublisher implements Publisher {
  readonly #connection: BrokerConnection;
  readonly #options: Required<PublisherOptions>;
  readonly #window: PublishWindow;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #stopping = new AbortController();
  readonly #deadlineTimer: NodeJS.Timeout;
  readonly #ignoreConnection: () => void;
  readonly #running: Promise<void>;
  #channel: PublishChannel | undefined;
  #isWritable = false;
  /** While the connection is blocked and for one confirm timeout afterwards, a late confirm is no reason for a new channel. */
  #noReplacementUntil = 0;

  constructor(connection: BrokerConnection, options: PublisherOptions) {
    this.#connection = connection;
    this.#options = {
      reopenBackoff: { baseMs: 100, capMs: 5_000 },
      closeTimeoutMs: 1_000,
      areReturnsExpected: false,
      ...options,
    };
    this.#window = new PublishWindow(options);
    // One timer instead of one per message: deadlines expire in the order of publishing.
    this.#deadlineTimer = setInterval(
      () => this.#checkConfirmDeadlines(),
      Math.ceil(options.confirmTimeoutMs / checksPerTimeout),
    ).unref();
    this.#ignoreConnection = connection.onStateChange(() => this.#refresh());
    this.#running = this.#keepChannel();
  }

  publish(message: Publication): Promise<void> {
    const channel = this.#channel;
    if (channel === undefined || this.#connection.state !== 'open')
      return Promise.reject(new PublishError('unavailable', message.messageId));
    if (!this.#isWritable) return Promise.reject(new PublishError('window-full', message.messageId));
    return channel.publish(message);
  }

  get writable(): boolean {
    return this.#isWritable;
  }

  get inFlight(): { messages: number; bytes: number } {
    return { messages: this.#window.messages, bytes: this.#window.bytes };
  }

  onWritableChange(listener: (writable: boolean) => void): () => void {
    this.#changes.on('writable', listener);
    return () => void this.#changes.off('writable', listener);
  }

  whenWritable(signal?: AbortSignal): Promise<void> {
    const stopping = this.#stopping.signal;
    return until(
      () => this.#isWritable,
      (listener) => this.onWritableChange(listener),
      signal ? AbortSignal.any([signal, stopping]) : stopping,
    );
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#deadlineTimer);
    this.#ignoreConnection();
    if (this.#channel !== undefined) await this.#closeChannel(this.#channel);
    await this.#running;
  }

  async #keepChannel(): Promise<void> {
    const stopping = this.#stopping.signal;
    for (let failures = 1; !stopping.aborted; failures += 1) {
      try {
        await this.#connection.whenOpen(stopping);
        const channel = this.#adopt(await this.#connection.openConfirmChannel());
        failures = 1;
        const error = await channel.lost;
        // The exchange is missing: until it is declared again, every publish would cost a channel.
        if (replyCode(error) === replyCodes.notFound) await this.#connection.redeclareTopology();
      } catch (error) {
        if (error instanceof ConnectionClosedError || stopping.aborted) return;
      }
      await sleepUnlessAborted(backoffMs(this.#options.reopenBackoff, failures), stopping);
    }
  }

  #adopt(opened: ConfirmChannel): PublishChannel {
    const { logger, confirmTimeoutMs, areReturnsExpected } = this.#options;
    const connection = this.#connection.name;
    const channel = new PublishChannel(opened, {
      window: this.#window,
      confirmTimeoutMs,
      onChange: () => this.#refresh(),
      onError: ({ message }) => logger.warn({ connection, reason: message }, 'publishing channel lost'),
      onLost: (lost) => {
        if (this.#channel === lost) this.#channel = undefined;
      },
      onReturned: () => {
        if (!areReturnsExpected) this.#restoreTopology();
      },
    });
    this.#channel = channel;
    this.#refresh();
    if (this.#stopping.signal.aborted) void this.#closeChannel(channel);
    return channel;
  }

  /** A returned message means that a binding was removed, and until it is restored nothing would be stored. */
  #restoreTopology(): void {
    this.#connection.redeclareTopology().catch((error: Error) => {
      const fields = { connection: this.#connection.name, reason: error.message };
      this.#options.logger.warn(fields, 'could not restore the topology');
    });
  }

  #refresh(): void {
    const channel = this.#channel;
    this.#window.setChannelReady(channel !== undefined && !channel.isBackedUp && this.#connection.state === 'open');
    const isWritable = this.#window.isWritable;
    if (isWritable === this.#isWritable) return;
    this.#isWritable = isWritable;
    this.#changes.emit('writable', isWritable);
  }

  /**
   * While the broker has blocked the connection it reads nothing, so that a new channel would not help: callers get
   * `confirm-timeout` while the messages still count towards the window, because the broker can still receive and confirm them.
   */
  #checkConfirmDeadlines(): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    const { logger, confirmTimeoutMs, closeTimeoutMs } = this.#options;
    const now = performance.now();
    if (this.#connection.state === 'blocked') {
      this.#noReplacementUntil = now + confirmTimeoutMs;
      channel.rejectOverdue(now);
      return;
    }
    if (now < this.#noReplacementUntil || !channel.isOverdue(now)) return;
    logger.warn({ connection: this.#connection.name, confirmTimeoutMs }, 'no confirm in time, replacing the channel');
    channel.lose({ overdueAt: now });
    // On a dead connection this gets no answer; opening the next channel finds that out.
    void channel.close(closeTimeoutMs);
  }

  async #closeChannel(channel: PublishChannel): Promise<void> {
    channel.lose();
    await channel.close(this.#options.closeTimeoutMs);
  }
}
