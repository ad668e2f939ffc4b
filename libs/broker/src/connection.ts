import { EventEmitter } from 'node:events';
import { connect, type Channel, type ChannelModel, type ConfirmChannel } from 'amqplib';
import { backoffMs } from '@fleetwire/contracts/backoff';
import { ConnectionClosedError, PermanentBrokerError } from './errors.ts';
import type { BrokerLogger } from './logger.ts';
import { sleepUnlessAborted, until } from './waiting.ts';

/** `blocked`: connected, but the broker has stopped reading publishes (RabbitMQ, "Blocked Connection Notifications"). */
export type ConnectionState = 'connecting' | 'open' | 'blocked' | 'closed';

export interface BrokerConnectionOptions {
  url: string;
  /** Shown in the broker's management pages and in the log. */
  name: string;
  logger: BrokerLogger;
  /** Runs after every (re)connect, before the state becomes `open`; see `declareTopology`. */
  onOpen?: (session: ChannelModel) => Promise<void>;
  /** A peer that is silent for two of these is gone. RabbitMQ recommends 5 to 20. */
  heartbeatSeconds?: number;
  reconnectBaseMs?: number;
  reconnectCapMs?: number;
  /** From the first packet to the end of `onOpen`. */
  connectTimeoutMs?: number;
  channelOpenTimeoutMs?: number;
  /** How long `close` waits for the broker's goodbye. */
  closeTimeoutMs?: number;
  /** How long `reassert` waits first. */
  reassertDelayMs?: number;
}

/** A connection that comes back by itself. Channels do not: publisher and consumer open their own again. */
export interface BrokerConnection {
  readonly name: string;
  readonly state: ConnectionState;
  /** Counts the times it was established; 0 before the first. */
  readonly generation: number;
  /**
   * Settles once: resolves when first open, rejects with a `PermanentBrokerError` when trying again is pointless
   * (wrong password, mismatching topology). The connection goes on trying all the same.
   */
  readonly opened: Promise<void>;
  onStateChange(listener: (state: ConnectionState) => void): () => void;
  /** Resolves when open; rejects when closed for good, or with the signal's reason. */
  whenOpen(signal?: AbortSignal): Promise<void>;
  openChannel(): Promise<Channel>;
  openConfirmChannel(): Promise<ConfirmChannel>;
  /** Runs `onOpen` again, for whoever finds a queue or a binding missing. Calls while one is under way share it. */
  reassert(): Promise<void>;
  /** Gives up the present socket, for whoever finds it dead, and connects anew. */
  recycle(reason: string): void;
  /** Ends it for good. Drain publishers and consumers first. */
  close(): Promise<void>;
}

interface Session {
  model: ChannelModel;
  ended: Promise<string>;
  /** Destroys the socket at once. amqplib only ever half-closes it, which a dead peer never answers. */
  readonly destroy: (reason: string) => void;
}

/** Starts connecting and returns at once. */
export function openBrokerConnection(options: BrokerConnectionOptions): BrokerConnection {
  const {
    name,
    logger,
    onOpen = async () => {},
    heartbeatSeconds = 10,
    reconnectBaseMs = 200,
    reconnectCapMs = 10_000,
    connectTimeoutMs = 10_000,
    channelOpenTimeoutMs = 5_000,
    closeTimeoutMs = 2_000,
    reassertDelayMs = 500,
  } = options;
  const url = withHeartbeat(options.url, heartbeatSeconds);
  const changes = new EventEmitter().setMaxListeners(0);
  const closing = new AbortController();
  const opened = Promise.withResolvers<void>();
  opened.promise.catch(() => {});

  let state: ConnectionState = 'connecting';
  let generation = 0;
  let session: Session | undefined;
  let reasserting: Promise<void> | undefined;

  function enter(next: ConnectionState) {
    if (state === next) return;
    state = next;
    changes.emit('change', next);
  }

  function onStateChange(listener: (state: ConnectionState) => void) {
    changes.on('change', listener);
    return () => void changes.off('change', listener);
  }

  async function keepConnected() {
    let lastFailure = '';
    for (let attempt = 0; !closing.signal.aborted; attempt += 1) {
      try {
        session = await openSession();
        if (closing.signal.aborted) session.destroy('closed while connecting');
        attempt = 0;
        lastFailure = '';
        generation += 1;
        logger.info({ connection: name, generation }, 'broker connection open');
        enter('open');
        opened.resolve();
        const reason = await session.ended;
        if (!closing.signal.aborted) logger.warn({ connection: name, generation, reason }, 'broker connection lost');
      } catch (error) {
        if (isPermanent(error)) opened.reject(error);
        const failure = describe(error);
        if (failure !== lastFailure && !closing.signal.aborted) {
          logger.error({ connection: name, reason: failure }, 'broker connection failed, trying on');
        }
        lastFailure = failure;
      }
      session = undefined;
      if (closing.signal.aborted) break;
      enter('connecting');
      await sleepUnlessAborted(
        backoffMs({ baseMs: reconnectBaseMs, capMs: reconnectCapMs }, attempt + 1),
        closing.signal,
      );
    }
    opened.reject(new ConnectionClosedError(`broker connection ${name} was closed`));
    enter('closed');
  }

  async function openSession(): Promise<Session> {
    const socket = new AbortController();
    const destroy = (reason: string) => socket.abort(new Error(reason));
    const abandon = () => destroy('closed while connecting');
    const deadline = setTimeout(() => destroy(`no session within ${connectTimeoutMs} ms`), connectTimeoutMs);
    closing.signal.addEventListener('abort', abandon);
    try {
      const socketOptions = {
        noDelay: true,
        keepAlive: true,
        clientProperties: { connection_name: name },
        signal: socket.signal,
      };
      const model = await connect(url, socketOptions);
      const ended = watch(model, destroy);
      // What amqplib is asked for just when the connection ends may never be answered, such as the closing of a channel.
      const cutShort = ended.then((reason) => Promise.reject(new Error(reason)));
      await Promise.race([onOpen(model), cutShort]);
      return { model, ended, destroy };
    } catch (error) {
      destroy('giving up this attempt');
      throw error;
    } finally {
      clearTimeout(deadline);
      closing.signal.removeEventListener('abort', abandon);
    }
  }

  function watch(model: ChannelModel, destroy: Session['destroy']): Promise<string> {
    let reason = 'the broker closed it';
    model.on('error', (error) => (reason = describe(error)));
    model.on('blocked', (cause) => {
      logger.warn({ connection: name, cause }, 'broker connection blocked');
      enter('blocked');
    });
    model.on('unblocked', () => {
      logger.info({ connection: name }, 'broker connection unblocked');
      enter('open');
    });
    return new Promise((resolve) => {
      model.on('close', () => {
        destroy('session over');
        resolve(reason);
      });
    });
  }

  /** A channel that does not open in time is a dead connection, unless the broker said that it is not reading. */
  async function openWithin<C extends Channel>(open: (model: ChannelModel) => Promise<C>): Promise<C> {
    if (session === undefined) throw new Error(`broker connection ${name} is ${state}`);
    const { model, destroy } = session;
    const expiry = setInterval(() => {
      if (state !== 'blocked') destroy(`no channel within ${channelOpenTimeoutMs} ms`);
    }, channelOpenTimeoutMs);
    try {
      return await open(model);
    } finally {
      clearInterval(expiry);
    }
  }

  async function assertAgain() {
    // RabbitMQ 3.10 tells the consumers of a deleted quorum queue only while nobody has declared it again; one that was not told
    // stays deaf.
    await sleepUnlessAborted(reassertDelayMs, closing.signal);
    const model = session?.model;
    if (model === undefined) throw new Error(`broker connection ${name} is ${state}`);
    await onOpen(model);
  }

  const running = keepConnected();

  return {
    name,
    get state() {
      return state;
    },
    get generation() {
      return generation;
    },
    opened: opened.promise,
    onStateChange,
    whenOpen(signal) {
      const isOpen = () => {
        if (state === 'closed') throw new ConnectionClosedError(`broker connection ${name} was closed`);
        return state === 'open';
      };
      return until(isOpen, onStateChange, signal);
    },
    openChannel: () => openWithin((model) => model.createChannel()),
    openConfirmChannel: () => openWithin((model) => model.createConfirmChannel()),
    reassert() {
      reasserting ??= assertAgain().finally(() => (reasserting = undefined));
      return reasserting;
    },
    recycle: (reason) => session?.destroy(reason),
    async close() {
      if (!closing.signal.aborted) {
        closing.abort();
        const last = session;
        if (last !== undefined) {
          const deadline = setTimeout(() => last.destroy('no goodbye from the broker'), closeTimeoutMs);
          // Rejects when the connection ended by itself meanwhile, which is as good.
          last.model.close().catch(() => {});
          await last.ended;
          clearTimeout(deadline);
        }
        logger.info({ connection: name }, 'broker connection closed');
      }
      await running;
    },
  };
}

/** amqplib takes the heartbeat of a string URL from its query alone. */
function withHeartbeat(url: string, seconds: number): string {
  const parsed = new URL(url);
  parsed.searchParams.set('heartbeat', String(seconds));
  return parsed.href;
}

function isPermanent(error: unknown): boolean {
  // The handshake's refusal carries no reply code: amqplib puts the broker's text into the message.
  return error instanceof PermanentBrokerError || describe(error).includes('ACCESS_REFUSED');
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, name } = error.name === 'AbortError' && error.cause instanceof Error ? error.cause : error;
  // All that amqplib tells of a vhost which is missing, forbidden, full or just starting.
  if (message.startsWith('Expected ConnectionOpenOk')) return 'the broker refused the vhost';
  return message || name;
}
