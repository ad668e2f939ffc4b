import { connect, type ChannelModel } from 'amqplib';
import { PermanentBrokerError } from './errors.ts';

/** One AMQP connection, from its first packet to its end. It does not reconnect. */
export interface AmqpConnection {
  readonly model: ChannelModel;
  /** Resolves with the reason when the connection has ended. */
  readonly ended: Promise<string>;
  /** Destroys the socket immediately. amqplib only ever half-closes it, which a dead peer never answers. */
  readonly destroy: (reason: string) => void;
}

export interface AmqpConnectionOptions {
  readonly url: string;
  readonly name: string;
  readonly heartbeatSeconds: number;
  readonly onOpen: (model: ChannelModel) => Promise<void>;
  readonly onBlocked: (cause: string) => void;
  readonly onUnblocked: () => void;
  /** From the first packet to the end of `onOpen`. */
  readonly connectTimeoutMs: number;
  /** Aborts an attempt; an open connection is not affected. */
  readonly signal: AbortSignal;
}

export async function openAmqpConnection(options: AmqpConnectionOptions): Promise<AmqpConnection> {
  const { url, name, heartbeatSeconds, onOpen, connectTimeoutMs, signal } = options;
  const socket = new AbortController();
  const destroy = (reason: string) => socket.abort(new Error(reason));
  const abandon = () => destroy('closed while connecting');
  const deadline = setTimeout(() => destroy(`no connection within ${connectTimeoutMs} ms`), connectTimeoutMs);
  signal.addEventListener('abort', abandon);
  try {
    const socketOptions = {
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: name },
      signal: socket.signal,
    };
    const model = await connect(withHeartbeat(url, heartbeatSeconds), socketOptions);
    const ended = watch(model, destroy, options);
    // amqplib may never answer a call that is pending when the connection ends, such as the closing of a channel.
    const cutShort = ended.then((reason) => Promise.reject(new Error(reason)));
    await Promise.race([onOpen(model), cutShort]);
    return { model, ended, destroy };
  } catch (error) {
    destroy('attempt failed');
    throw error;
  } finally {
    clearTimeout(deadline);
    signal.removeEventListener('abort', abandon);
  }
}

export async function closeAmqpConnection({ model, ended, destroy }: AmqpConnection, timeoutMs: number): Promise<void> {
  const deadline = setTimeout(() => destroy(`not closed within ${timeoutMs} ms`), timeoutMs);
  // Rejects when the connection has already ended by itself: nothing is left to close.
  model.close().catch(() => {});
  await ended;
  clearTimeout(deadline);
}

function watch(
  model: ChannelModel,
  destroy: AmqpConnection['destroy'],
  options: AmqpConnectionOptions,
): Promise<string> {
  let reason = 'the broker closed it';
  model.on('error', (error) => (reason = reasonOf(error)));
  model.on('blocked', options.onBlocked);
  model.on('unblocked', options.onUnblocked);
  return new Promise((resolve) => {
    model.on('close', () => {
      destroy('connection ended');
      resolve(reason);
    });
  });
}

/** amqplib reads the heartbeat of a string URL from its query alone. */
function withHeartbeat(url: string, seconds: number): string {
  const parsed = new URL(url);
  parsed.searchParams.set('heartbeat', String(seconds));
  return parsed.href;
}

/** Whether retrying is pointless until an operator acts. */
export function isPermanent(error: unknown): boolean {
  // A refused login carries no reply code: amqplib puts the broker's text into the message.
  return error instanceof PermanentBrokerError || reasonOf(error).includes('ACCESS_REFUSED');
}

export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, name } = error.name === 'AbortError' && error.cause instanceof Error ? error.cause : error;
  // amqplib reports the same for a vhost that is missing, forbidden, full or just starting.
  if (message.startsWith('Expected ConnectionOpenOk')) return 'the broker refused the vhost';
  return message || name;
}
