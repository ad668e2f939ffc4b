import { EventEmitter } from 'node:events';
import { IllegalOperationError, type ConfirmChannel, type Options } from 'amqplib';
import { backoffMs } from '@fleetwire/contracts/backoff';
import type { BrokerConnection } from './connection.ts';
import { ConnectionClosedError, PublishError, replyCode, replyCodes, type PublishFailure } from './errors.ts';
import type { BrokerLogger } from './logger.ts';
import type { Headers } from './retry-headers.ts';
import { settledWithin, sleepUnlessAborted, until } from './waiting.ts';

/** One message to publish, always persistent and mandatory. */
export interface Publication {
  exchange: string;
  routingKey: string;
  content: Buffer;
  /** Names it in errors, and finds it again when the broker returns it. */
  messageId: string;
  type?: string;
  contentType?: string;
  headers?: Headers;
  /** Epoch milliseconds, kept to the second by AMQP; now, unless given. */
  timestampMs?: number;
}

export interface PublisherOptions {
  logger: BrokerLogger;
  messagesInFlightMax: number;
  /** Of content. Looked at before a message is admitted, so that one message of any size fits an empty window. */
  bytesInFlightMax: number;
  /** How long the broker may take to confirm before the message is given up and the channel replaced. */
  confirmTimeoutMs: number;
  reopenBaseMs?: number;
  reopenCapMs?: number;
  /** How long `close` waits for the broker's answer. */
  closeTimeoutMs?: number;
}

/** Numbers since the start. `published` = `confirmed` + the failures from `returned` to `lost` + in flight. */
interface PublisherStats {
  published: number;
  confirmed: number;
  returned: number;
  nacked: number;
  confirmTimeouts: number;
  /** Messages whose channel was lost, not the channels. */
  lost: number;
  /** Never sent: `unavailable` or `window-full`. */
  refused: number;
  channelsOpened: number;
}

export interface Publisher {
  /**
   * Resolves only when the broker has confirmed the message and has not returned it. Never waits for room: exactly
   * when `writable` is false it rejects at once.
   *
   * @throws {PublishError} whose `kind` says what is known about the message
   */
  publish(message: Publication): Promise<void>;
  /** Connected, not blocked, and room in the window and in the channel's own write buffer. */
  readonly writable: boolean;
  onWritableChange(listener: (writable: boolean) => void): () => void;
  /** Rejects with the signal's reason, or when the publisher was closed. */
  whenWritable(signal?: AbortSignal): Promise<void>;
  readonly inFlight: { readonly messages: number; readonly bytes: number };
  stats(): PublisherStats;
  /** Waits until nothing is in flight; false when that took longer than `timeoutMs`. */
  drain(timeoutMs: number): Promise<boolean>;
  /** Rejects what is in flight and closes the channel; the connection stays. */
  close(): Promise<void>;
}

interface Outstanding {
  readonly messageId: string;
  readonly bytes: number;
  readonly deadlineAt: number;
  returned: boolean;
  /** Settles the caller's promise; later calls do nothing. */
  settle(failure?: PublishFailure): void;
  settled: boolean;
}

/** A confirm channel with what it has not confirmed yet, oldest first. */
interface Lane {
  readonly channel: ConfirmChannel;
  readonly outstanding: Set<Outstanding>;
  /** The channel's write buffer is full: the socket takes less than is published. */
  backedUp: boolean;
  error: Error | undefined;
  readonly lost: PromiseWithResolvers<void>;
}

const SWEEPS_PER_TIMEOUT = 8;

const counterOf = {
  returned: 'returned',
  nacked: 'nacked',
  'confirm-timeout': 'confirmTimeouts',
  'channel-lost': 'lost',
  unavailable: 'refused',
  'window-full': 'refused',
} as const satisfies Record<PublishFailure, keyof PublisherStats>;

/**
 * Publishes with confirms on a channel of its own, which it opens again whenever it is lost.
 * Sources: RabbitMQ documentation, "Consumer Acknowledgements and Publisher Confirms" and "Publishers".
 */
export function createPublisher(connection: BrokerConnection, options: PublisherOptions): Publisher {
  const { logger, messagesInFlightMax, bytesInFlightMax, confirmTimeoutMs } = options;
  const { reopenBaseMs = 100, reopenCapMs = 5_000, closeTimeoutMs = 1_000 } = options;
  const stopping = new AbortController();
  const changes = new EventEmitter().setMaxListeners(0);
  const stats: PublisherStats = {
    published: 0,
    confirmed: 0,
    returned: 0,
    nacked: 0,
    confirmTimeouts: 0,
    lost: 0,
    refused: 0,
    channelsOpened: 0,
  };
  const inFlight = { messages: 0, bytes: 0 };
  let lane: Lane | undefined;
  let writable = false;
  let patientUntil = 0;

  function refresh() {
    const room = inFlight.messages < messagesInFlightMax && inFlight.bytes < bytesInFlightMax;
    const next = room && lane !== undefined && !lane.backedUp && connection.state === 'open';
    if (next === writable) return;
    writable = next;
    changes.emit('writable', next);
  }

  function onWritableChange(listener: (writable: boolean) => void) {
    changes.on('writable', listener);
    return () => void changes.off('writable', listener);
  }

  function onIdle(listener: () => void) {
    changes.on('idle', listener);
    return () => void changes.off('idle', listener);
  }

  async function keepChannel() {
    for (let attempt = 0; !stopping.signal.aborted; attempt += 1) {
      try {
        await connection.whenOpen(stopping.signal);
        const opened = openLane(await connection.openConfirmChannel());
        attempt = 0;
        await opened.lost.promise;
        // The exchange is gone: without it every further publish would cost a channel.
        if (replyCode(opened.error) === replyCodes.notFound) await connection.reassert();
      } catch (error) {
        if (error instanceof ConnectionClosedError || stopping.signal.aborted) return;
      }
      await sleepUnlessAborted(backoffMs({ baseMs: reopenBaseMs, capMs: reopenCapMs }, attempt + 1), stopping.signal);
    }
  }

  function openLane(channel: ConfirmChannel): Lane {
    const opened: Lane = {
      channel,
      outstanding: new Set(),
      backedUp: false,
      error: undefined,
      lost: Promise.withResolvers(),
    };
    channel.on('error', (error) => {
      opened.error = error;
      logger.warn({ connection: connection.name, reason: error.message }, 'publishing channel lost');
    });
    // Ahead of amqplib's own listener, which would report every outstanding message as if the broker refused it.
    channel.prependListener('close', () => lose(opened, () => 'channel-lost'));
    channel.on('return', ({ properties }) => noteReturned(opened, properties.messageId));
    channel.on('drain', () => {
      opened.backedUp = false;
      refresh();
    });
    lane = opened;
    stats.channelsOpened += 1;
    refresh();
    if (stopping.signal.aborted) void closeLane(opened);
    return opened;
  }

  function lose(lost: Lane, failureOf: (entry: Outstanding) => PublishFailure) {
    if (lane === lost) lane = undefined;
    const outstanding = [...lost.outstanding];
    lost.outstanding.clear();
    for (const entry of outstanding) {
      release(entry);
      entry.settle(failureOf(entry));
    }
    lost.lost.resolve();
    refresh();
  }

  /** Tells the broker as well, unless it does not listen: on a dead connection it never answers. */
  async function closeLane(last: Lane) {
    lose(last, () => 'channel-lost');
    await settledWithin(last.channel.close(), closeTimeoutMs);
  }

  function release({ bytes }: Outstanding) {
    inFlight.messages -= 1;
    inFlight.bytes -= bytes;
    if (inFlight.messages === 0) changes.emit('idle');
  }

  /** The broker sends `basic.return` before the confirm of the same message (RabbitMQ, "Publishers", unroutable). */
  function noteReturned({ outstanding }: Lane, messageId: unknown) {
    for (const entry of outstanding) {
      if (entry.messageId === messageId) entry.returned = true;
    }
    // Whoever removed the binding: it belongs to the topology, or nothing is stored from now on.
    connection.reassert().catch((error: Error) => {
      logger.warn({ connection: connection.name, reason: error.message }, 'topology not restored');
    });
  }

  function publish(message: Publication): Promise<void> {
    const { messageId, content } = message;
    if (lane === undefined || connection.state !== 'open') return refuse('unavailable', messageId);
    if (!writable) return refuse('window-full', messageId);
    const carrier = lane;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry: Outstanding = {
      messageId,
      bytes: content.length,
      deadlineAt: performance.now() + confirmTimeoutMs,
      returned: false,
      settled: false,
      settle(failure) {
        if (entry.settled) return;
        entry.settled = true;
        stats[failure === undefined ? 'confirmed' : counterOf[failure]] += 1;
        if (failure === undefined) resolve();
        else reject(new PublishError(failure, messageId));
      },
    };
    const onConfirm = (nacked: unknown) => {
      // Not there: the channel was given up, and every message of it with it.
      if (!carrier.outstanding.delete(entry)) return;
      release(entry);
      entry.settle(nacked ? 'nacked' : entry.returned ? 'returned' : undefined);
      refresh();
    };
    try {
      const { exchange, routingKey } = message;
      const accepted = carrier.channel.publish(exchange, routingKey, content, propertiesOf(message), onConfirm);
      carrier.backedUp = !accepted;
    } catch (error) {
      // Nothing was sent: the channel closes at this moment, or headers are too large to encode.
      return error instanceof IllegalOperationError ? refuse('unavailable', messageId) : Promise.reject(error);
    }
    carrier.outstanding.add(entry);
    stats.published += 1;
    inFlight.messages += 1;
    inFlight.bytes += content.length;
    refresh();
    return promise;
  }

  function refuse(failure: 'unavailable' | 'window-full', messageId: string): Promise<never> {
    stats[counterOf[failure]] += 1;
    return Promise.reject(new PublishError(failure, messageId));
  }

  /**
   * One sweep instead of a timer per message: deadlines fall due in the order of publishing. While the broker has
   * blocked the connection it reads nothing, so a new channel would not help; callers still get their answer in time,
   * but the messages stay in the window, for the broker will take them as soon as it reads again.
   */
  function sweep() {
    if (lane === undefined) return;
    const now = performance.now();
    const isOverdue = ({ deadlineAt }: Outstanding) => deadlineAt <= now;
    if (connection.state === 'blocked') {
      patientUntil = now + confirmTimeoutMs;
      for (const entry of lane.outstanding) {
        if (!isOverdue(entry)) break;
        entry.settle('confirm-timeout');
      }
      return;
    }
    const [oldest] = lane.outstanding;
    if (oldest === undefined || !isOverdue(oldest) || now < patientUntil) return;
    logger.warn({ connection: connection.name, confirmTimeoutMs }, 'no confirm in time, replacing the channel');
    const { channel } = lane;
    lose(lane, (entry) => (isOverdue(entry) ? 'confirm-timeout' : 'channel-lost'));
    // On a dead connection this gets no answer; opening the next channel finds that out.
    channel.close().catch(() => {});
  }

  const sweeper = setInterval(sweep, Math.ceil(confirmTimeoutMs / SWEEPS_PER_TIMEOUT)).unref();
  const forgetConnection = connection.onStateChange(refresh);
  const running = keepChannel();

  return {
    publish,
    get writable() {
      return writable;
    },
    onWritableChange,
    whenWritable: (signal) =>
      until(() => writable, onWritableChange, signal ? AbortSignal.any([signal, stopping.signal]) : stopping.signal),
    inFlight,
    stats: () => ({ ...stats }),
    async drain(timeoutMs) {
      try {
        await until(() => inFlight.messages === 0, onIdle, AbortSignal.timeout(timeoutMs));
        return true;
      } catch {
        return false;
      }
    },
    async close() {
      stopping.abort();
      clearInterval(sweeper);
      forgetConnection();
      if (lane !== undefined) await closeLane(lane);
      await running;
    },
  };
}

function propertiesOf({ messageId, type, contentType, headers, timestampMs = Date.now() }: Publication) {
  const properties: Options.Publish = {
    mandatory: true,
    persistent: true,
    messageId,
    timestamp: Math.floor(timestampMs / 1000),
  };
  if (type !== undefined) properties.type = type;
  if (contentType !== undefined) properties.contentType = contentType;
  if (headers !== undefined) properties.headers = headers;
  return properties;
}
