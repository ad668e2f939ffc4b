import { IllegalOperationError, type ConfirmChannel, type Options } from 'amqplib';
import { PublishError, type PublishFailure } from './errors.ts';
import type { PublishWindow } from './publish-window.ts';
import type { Headers } from './retry-headers.ts';
import { settledWithin } from './waiting.ts';

/** One message to publish: persistent and mandatory, unless it is transient. */
export interface Publication {
  exchange: string;
  routingKey: string;
  content: Buffer;
  /** Identifies the message in errors, and when the broker returns it. */
  messageId: string;
  type?: string;
  contentType?: string;
  headers?: Headers;
  /** Epoch milliseconds, kept to the second by AMQP; by default now. */
  timestampMs?: number;
  /** May be lost: it is not written to disk, and confirmed also where no queue takes it. */
  isTransient?: boolean;
  /** The broker drops the message when it is older than this and at the head of its queue. */
  expirationMs?: number;
  /** Further routing keys (RabbitMQ, "Sender-selected Distribution"). */
  cc?: readonly string[];
}

export interface PublishChannelOptions {
  readonly window: PublishWindow;
  readonly confirmTimeoutMs: number;
  /** After each change of the window, and when the channel's write buffer fills or empties. */
  readonly onChange: () => void;
  /** The broker closed the channel with an error; `onLost` follows. */
  readonly onError: (error: Error) => void;
  /** Before the outstanding messages are rejected. */
  readonly onLost: (channel: PublishChannel) => void;
  /** No queue took a message. */
  readonly onReturned: () => void;
}

/** A confirm channel and the messages that it has not confirmed yet, oldest first. */
export class PublishChannel {
  readonly #channel: ConfirmChannel;
  readonly #options: PublishChannelOptions;
  readonly #outstanding = new Set<Outstanding>();
  readonly #lost = Promise.withResolvers<Error | undefined>();
  #isBackedUp = false;
  #error: Error | undefined;

  constructor(channel: ConfirmChannel, options: PublishChannelOptions) {
    this.#channel = channel;
    this.#options = options;
    channel.on('error', (error: Error) => {
      this.#error = error;
      options.onError(error);
    });
    // Ahead of amqplib's own listener, which would report every outstanding message as if the broker refused it.
    channel.prependListener('close', () => this.lose());
    channel.on('return', ({ properties }) => this.#noteReturned(properties.messageId));
    channel.on('drain', () => {
      this.#isBackedUp = false;
      options.onChange();
    });
  }

  /** The channel's write buffer is full: messages are published faster than the socket sends them. */
  get isBackedUp(): boolean {
    return this.#isBackedUp;
  }

  /** Resolves when the channel is lost, with the broker's error if it sent one. */
  get lost(): Promise<Error | undefined> {
    return this.#lost.promise;
  }

  publish(message: Publication): Promise<void> {
    const { exchange, routingKey, content, messageId } = message;
    const { window, confirmTimeoutMs, onChange } = this.#options;
    const entry = new Outstanding(messageId, content.length, performance.now() + confirmTimeoutMs);
    const onConfirm = (nacked: unknown) => this.#confirmed(entry, nacked);
    try {
      this.#isBackedUp = !this.#channel.publish(exchange, routingKey, content, propertiesOf(message), onConfirm);
    } catch (error) {
      // Nothing was sent: the channel is closed, or the headers are too large to encode.
      if (!(error instanceof IllegalOperationError)) return Promise.reject(error);
      // It may have closed before this class listened to it, and then no 'close' event follows.
      this.lose();
      return Promise.reject(new PublishError('unavailable', messageId));
    }
    this.#outstanding.add(entry);
    window.admit(entry.bytes);
    onChange();
    return entry.promise;
  }

  isOverdue(now: number): boolean {
    const [oldest] = this.#outstanding;
    return oldest !== undefined && oldest.deadlineAt <= now;
  }

  /** Rejects the overdue messages. They still count towards the window until the broker confirms them. */
  rejectOverdue(now: number): void {
    for (const entry of this.#outstanding) {
      if (entry.deadlineAt > now) break;
      entry.settle('confirm-timeout');
    }
  }

  /**
   * Gives up all outstanding messages. Later confirms of this channel are ignored.
   * @param overdueAt Messages past their deadline at this time get `confirm-timeout`, all others `channel-lost`.
   */
  lose({ overdueAt }: { readonly overdueAt?: number } = {}): void {
    const { window, onChange, onLost } = this.#options;
    onLost(this);
    const entries = [...this.#outstanding];
    this.#outstanding.clear();
    for (const entry of entries) {
      window.release(entry.bytes);
      const isOverdue = overdueAt !== undefined && entry.deadlineAt <= overdueAt;
      entry.settle(isOverdue ? 'confirm-timeout' : 'channel-lost');
    }
    this.#lost.resolve(this.#error);
    onChange();
  }

  /** Waits for the broker's answer, but not longer than this: on a dead connection there is none. */
  async close(timeoutMs: number): Promise<void> {
    await settledWithin(this.#channel.close(), timeoutMs);
  }

  #confirmed(entry: Outstanding, nacked: unknown): void {
    if (!this.#outstanding.delete(entry)) return;
    this.#options.window.release(entry.bytes);
    entry.settle(nacked ? 'nacked' : entry.isReturned ? 'returned' : undefined);
    this.#options.onChange();
  }

  /** The broker sends `basic.return` before the confirm of the same message (RabbitMQ, "Publishers", unroutable messages). */
  #noteReturned(messageId: unknown): void {
    for (const entry of this.#outstanding) {
      if (entry.messageId === messageId) entry.isReturned = true;
    }
    this.#options.onReturned();
  }
}

/** A message without a confirm. */
class Outstanding {
  readonly messageId: string;
  readonly bytes: number;
  readonly deadlineAt: number;
  readonly promise: Promise<void>;
  isReturned = false;
  readonly #resolve: () => void;
  readonly #reject: (error: PublishError) => void;
  #isSettled = false;

  constructor(messageId: string, bytes: number, deadlineAt: number) {
    this.messageId = messageId;
    this.bytes = bytes;
    this.deadlineAt = deadlineAt;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Later calls do nothing. */
  settle(failure: PublishFailure | undefined): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (failure === undefined) this.#resolve();
    else this.#reject(new PublishError(failure, this.messageId));
  }
}

function propertiesOf(message: Publication) {
  const {
    messageId,
    type,
    contentType,
    headers,
    timestampMs = Date.now(),
    isTransient = false,
    cc,
    expirationMs,
  } = message;
  const properties: Options.Publish = {
    mandatory: !isTransient,
    persistent: !isTransient,
    messageId,
    timestamp: Math.floor(timestampMs / 1000),
  };
  if (type !== undefined) properties.type = type;
  if (contentType !== undefined) properties.contentType = contentType;
  if (headers !== undefined) properties.headers = headers;
  if (cc !== undefined) properties.CC = [...cc];
  if (expirationMs !== undefined) properties.expiration = String(expirationMs);
  return properties;
}
