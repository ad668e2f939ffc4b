import { EventEmitter } from 'node:events';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { Channel, ChannelModel, ConfirmChannel } from 'amqplib';
import {
  type AmqpConnection,
  closeAmqpConnection,
  isPermanent,
  openAmqpConnection,
  reasonOf,
} from './amqp-connection.ts';
import { ConnectionClosedError } from './errors.ts';
import { sleepUnlessAborted, until } from './waiting.ts';

/** `blocked`: connected, but the broker has stopped reading publishes (RabbitMQ, "Blocked Connection Notifications"). */
export type ConnectionState = 'connecting' | 'open' | 'blocked' | 'closed';

/** The part of pino's logger that this library uses. It logs changes of state, never single messages. */
export interface BrokerLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface BrokerConnectionOptions {
  readonly url: string;
  /** Shown in the broker's management pages and in the log. */
  readonly name: string;
  readonly logger: BrokerLogger;
  /** Runs after every (re)connect, before the state becomes `open`; see `declareTopology`. */
  readonly onOpen?: (model: ChannelModel) => Promise<void>;
  /** A connection on which nothing arrives for two heartbeats is given up. RabbitMQ recommends 5 to 20 s. */
  readonly heartbeatSeconds?: number;

  // Tests shorten the rest.
  readonly reconnectBackoff?: Backoff;
  /** From the first packet to the end of `onOpen`. */
  readonly connectTimeoutMs?: number;
  readonly channelOpenTimeoutMs?: number;
  /** How long `close` waits for the broker to confirm it. */
  readonly closeTimeoutMs?: number;
  /** How long `redeclareTopology` waits first. */
  readonly redeclareDelayMs?: number;
}

/** A connection that reconnects by itself. Channels do not reopen: publisher and consumer open new ones. */
export interface BrokerConnection {
  readonly name: string;
  readonly state: ConnectionState;
  /** How many times it was established; 0 before the first. */
  readonly generation: number;
  /**
   * Settles once: resolves when first open, rejects when retrying is pointless until an operator acts: with a
   * `PermanentBrokerError` (mismatching topology), or with amqplib's `ACCESS_REFUSED` error (wrong password, missing permission).
   * The connection still keeps retrying. Rejects with a `ConnectionClosedError` when closed before it was open.
   */
  readonly opened: Promise<void>;
  onStateChange(listener: (state: ConnectionState) => void): () => void;
  /** Resolves when open; rejects when closed for good, or with the signal's reason. */
  whenOpen(signal?: AbortSignal): Promise<void>;
  openChannel(): Promise<Channel>;
  openConfirmChannel(): Promise<ConfirmChannel>;
  /** Runs `onOpen` again, after a caller found a queue or a binding missing. Calls during one run share it. */
  redeclareTopology(): Promise<void>;
  /** Closes it for good. Drain publishers and consumers first. */
  close(): Promise<void>;
}

/** Starts connecting and returns immediately. */
export function openBrokerConnection(options: BrokerConnectionOptions): BrokerConnection {
  return new ReconnectingConnection(options);
}

const defaults = {
  onOpen: async () => {},
  heartbeatSeconds: 10,
  reconnectBackoff: { baseMs: 200, capMs: 10_000 },
  connectTimeoutMs: 10_000,
  channelOpenTimeoutMs: 5_000,
  closeTimeoutMs: 2_000,
  redeclareDelayMs: 500,
};

class ReconnectingConnection implements BrokerConnection {
  readonly name: string;
  readonly #options: Required<BrokerConnectionOptions>;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #closing = new AbortController();
  readonly #opened = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  #state: ConnectionState = 'connecting';
  #generation = 0;
  #current: AmqpConnection | undefined;
  #redeclaring: Promise<void> | undefined;

  constructor(options: BrokerConnectionOptions) {
    this.name = options.name;
    this.#options = { ...defaults, ...options };
    // Services that do not look at `opened` still get an open connection later.
    this.#opened.promise.catch(() => {});
    this.#running = this.#keepConnected();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get generation(): number {
    return this.#generation;
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  onStateChange(listener: (state: ConnectionState) => void): () => void {
    this.#changes.on('change', listener);
    return () => void this.#changes.off('change', listener);
  }

  whenOpen(signal?: AbortSignal): Promise<void> {
    const isOpen = () => {
      if (this.#state === 'closed') throw this.#closedError();
      return this.#state === 'open';
    };
    return until(isOpen, (listener) => this.onStateChange(listener), signal);
  }

  openChannel(): Promise<Channel> {
    return this.#openWithin((model) => model.createChannel());
  }

  openConfirmChannel(): Promise<ConfirmChannel> {
    return this.#openWithin((model) => model.createConfirmChannel());
  }

  redeclareTopology(): Promise<void> {
    this.#redeclaring ??= this.#redeclare().finally(() => (this.#redeclaring = undefined));
    return this.#redeclaring;
  }

  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      if (this.#current !== undefined) await closeAmqpConnection(this.#current, this.#options.closeTimeoutMs);
      this.#options.logger.info({ connection: this.name }, 'broker connection closed');
    }
    await this.#running;
  }

  async #keepConnected(): Promise<void> {
    const closing = this.#closing.signal;
    const { logger, reconnectBackoff } = this.#options;
    let lastFailure = '';
    for (let failures = 1; !closing.aborted; failures += 1) {
      try {
        this.#current = await this.#openConnection();
        if (closing.aborted) this.#current.destroy('closed while connecting');
        failures = 1;
        lastFailure = '';
        this.#generation += 1;
        const fields = { connection: this.name, generation: this.#generation };
        logger.info(fields, 'broker connection open');
        this.#enter('open');
        this.#opened.resolve();
        const reason = await this.#current.ended;
        if (!closing.aborted) logger.warn({ ...fields, reason }, 'broker connection lost');
      } catch (error) {
        if (isPermanent(error)) this.#opened.reject(error);
        const failure = reasonOf(error);
        if (failure !== lastFailure && !closing.aborted)
          logger.error({ connection: this.name, reason: failure }, 'broker connection failed, retrying');
        lastFailure = failure;
      }
      this.#current = undefined;
      if (closing.aborted) break;
      this.#enter('connecting');
      await sleepUnlessAborted(backoffMs(reconnectBackoff, failures), closing);
    }
    this.#opened.reject(this.#closedError());
    this.#enter('closed');
  }

  #enter(state: ConnectionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#changes.emit('change', state);
  }

  #openConnection(): Promise<AmqpConnection> {
    const { logger } = this.#options;
    const fields = { connection: this.name };
    return openAmqpConnection({
      ...this.#options,
      signal: this.#closing.signal,
      onBlocked: (cause) => {
        logger.warn({ ...fields, cause }, 'broker connection blocked');
        this.#enter('blocked');
      },
      onUnblocked: () => {
        logger.info(fields, 'broker connection unblocked');
        this.#enter('open');
      },
    });
  }

  /** A connection on which a channel does not open in time is dead, unless the broker announced that it does not read. */
  async #openWithin<C extends Channel>(open: (model: ChannelModel) => Promise<C>): Promise<C> {
    const { channelOpenTimeoutMs } = this.#options;
    const { model, destroy } = this.#currentConnection();
    const expiry = setInterval(() => {
      if (this.#state !== 'blocked') destroy(`no channel within ${channelOpenTimeoutMs} ms`);
    }, channelOpenTimeoutMs);
    try {
      return await open(model);
    } finally {
      clearInterval(expiry);
    }
  }

  async #redeclare(): Promise<void> {
    // RabbitMQ 3.10 cancels the consumers of a deleted quorum queue only while the queue is missing. A consumer that was not
    // cancelled before the queue is declared again gets no more messages.
    await sleepUnlessAborted(this.#options.redeclareDelayMs, this.#closing.signal);
    await this.#options.onOpen(this.#currentConnection().model);
  }

  #currentConnection(): AmqpConnection {
    if (this.#current === undefined) throw new Error(`broker connection ${this.name} is ${this.#state}`);
    return this.#current;
  }

  #closedError(): ConnectionClosedError {
    return new ConnectionClosedError(`broker connection ${this.name} was closed`);
  }
}
