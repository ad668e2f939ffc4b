import { WebSocket } from 'ws';
import { keyOf } from './evidence.ts';

export interface WatcherOptions {
  readonly url: string;
  readonly token: string;
  readonly pattern: string;
  /** Device time from which everything is watched. */
  readonly since: Date;
}

/** The messages of docs/live.md, as far as they matter here. */
interface Message {
  readonly type: string;
  readonly cursor?: string;
  readonly code?: string;
  readonly message?: string;
  readonly retryable?: boolean;
  /** Of `data_update`; elsewhere a number. */
  readonly readings?: unknown;
}

interface Identity {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
}

/** Many heartbeats of the server: nothing was heard for so long on a connection that is half-open. */
const silentMsMax = 5_000;
const reconnectMs = 200;

/**
 * A subscriber as docs/live.md describes it: keeps the newest cursor, and subscribes with it again after any break. Like the devices here it
 * shares no code with the product.
 */
export class Watcher {
  /** Sequence numbers by device and epoch. */
  readonly received = new Map<string, Set<number>>();
  /** Readings that one subscription sent again, of the same device, epoch and seq. */
  repeated = 0;
  subscriptions = 0;
  #failure: string | undefined;
  readonly #options: WatcherOptions;
  #cursor: string | undefined;
  #socket: WebSocket | undefined;
  #isStopped = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#connect();
  }

  /** Why the server refuses the subscription for good, once it has. */
  get failure(): string | undefined {
    return this.#failure;
  }

  stop(): void {
    this.#isStopped = true;
    this.#socket?.terminate();
  }

  #connect(): void {
    const { url, token } = this.#options;
    const socket = new WebSocket(url, 'fleetwire.v1.json', {
      headers: { authorization: `Bearer ${token}` },
      handshakeTimeout: silentMsMax,
    });
    this.#socket = socket;
    let heardAt = performance.now();
    const watchdog = setInterval(() => {
      if (performance.now() - heardAt > silentMsMax) socket.terminate();
    }, silentMsMax / 5);
    const sent = new Map<string, Set<number>>();
    socket.on('open', () => this.#subscribe(socket));
    socket.on('ping', () => (heardAt = performance.now()));
    socket.on('message', (data: Buffer) => {
      heardAt = performance.now();
      this.#receive(JSON.parse(data.toString('utf8')) as Message, sent, socket);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(watchdog);
      if (!this.#isStopped && this.#failure === undefined) setTimeout(() => this.#connect(), reconnectMs);
    });
  }

  #subscribe(socket: WebSocket): void {
    const { pattern, since } = this.#options;
    this.subscriptions += 1;
    const start = this.#cursor === undefined ? { since: since.toISOString() } : { cursor: this.#cursor };
    socket.send(JSON.stringify({ type: 'subscribe', id: 'all', pattern, ...start }));
  }

  #receive(message: Message, sent: Map<string, Set<number>>, socket: WebSocket): void {
    const { type, cursor, readings } = message;
    if (type === 'error' && message.retryable !== true)
      this.#failure ??= `${String(message.code)}: ${String(message.message)}`;
    if (type === 'error' || type === 'unsubscribed') socket.terminate();
    this.#cursor = cursor ?? this.#cursor;
    if (type !== 'data_update') return;
    for (const { deviceId, epoch, seq } of readings as readonly Identity[]) {
      const key = keyOf({ deviceId, epoch });
      if (numbersOf(sent, key).has(seq)) this.repeated += 1;
      numbersOf(sent, key).add(seq);
      numbersOf(this.received, key).add(seq);
    }
  }
}

function numbersOf(streams: Map<string, Set<number>>, key: string): Set<number> {
  const known = streams.get(key) ?? new Set();
  streams.set(key, known);
  return known;
}
