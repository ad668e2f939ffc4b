import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerMessage } from '@fleetwire/contracts/device-protocol';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import WebSocket from 'ws';

interface Session {
  readonly sent: Set<number>;
  readonly dead: Set<number>;
  readonly refused: Set<number>;
}

export interface StoredDeviceOptions {
  /** The next one is tried after each loss. */
  readonly urls: readonly string[];
  readonly deviceId: string;
  readonly token: string;
  /** Called with the numbers that a `stored` message claims. */
  readonly onClaim: (seqs: readonly number[]) => void;
}

/** A device that keeps its readings until they are stored, or reported as dead, and sends the others again on each new socket. */
export class StoredDevice {
  readonly epoch = 'boot';
  readonly messages: ServerMessage[] = [];
  /** Numbers that were reported as dead, with the dead letter. */
  readonly dead = new Map<number, string | undefined>();
  readonly #options: StoredDeviceOptions;
  readonly #kept = new Map<number, string>();
  #socket: WebSocket | undefined;
  #session: Session | undefined;
  #connects = 0;
  #isClosed = false;

  constructor(options: StoredDeviceOptions) {
    this.#options = options;
    cleanUp(() => this.close());
    this.#connect();
  }

  /** Readings that are neither stored nor dead as far as the device knows. */
  get kept(): readonly number[] {
    return [...this.#kept.keys()];
  }

  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.terminate();
  }

  send(seq: number, ts = Date.now()): void {
    const frame = JSON.stringify({ type: 'telemetry', seq, ts, metrics: { seq } });
    this.#kept.set(seq, frame);
    this.#sendFrame(seq, frame);
  }

  #sendFrame(seq: number, frame: string): void {
    if (this.#session === undefined || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#session.sent.add(seq);
    this.#socket.send(frame);
  }

  #connect(): void {
    const { urls, token } = this.#options;
    const url = urls[this.#connects % urls.length]!;
    this.#connects += 1;
    const socket = new WebSocket(`${url}?epoch=${this.epoch}&acks=stored`, 'fleetwire.v1.json', {
      headers: { authorization: `Bearer ${token}` },
      handshakeTimeout: 2_000,
    });
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#receive(socket, JSON.parse(data.toString('utf8')) as ServerMessage));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#session = undefined;
      if (!this.#isClosed) void sleep(100).then(() => this.#isClosed || this.#connect());
    });
  }

  #receive(socket: WebSocket, message: ServerMessage): void {
    this.messages.push(message);
    if (message.type === 'hello') {
      this.#session = { sent: new Set(), dead: new Set(), refused: new Set() };
      for (const [seq, frame] of [...this.#kept].toSorted(([a], [b]) => a - b)) this.#sendFrame(seq, frame);
      return;
    }
    const session = this.#session;
    if (session === undefined || socket !== this.#socket) return;
    if (message.type === 'dead') {
      session.dead.add(message.seq);
      this.dead.set(message.seq, message.deadLetterId);
      this.#kept.delete(message.seq);
    } else if (message.type === 'nack') {
      const seqs = [...session.sent].filter((seq) => seq >= message.seq && seq < message.seq + message.count);
      for (const seq of seqs) if (!message.retryable) session.refused.add(seq);
      if (message.retryable) void sleep(Math.min(message.retryAfterMs ?? 0, 300)).then(() => this.#sendAgain(seqs));
    } else if (message.type === 'stored') {
      const claimed = [...session.sent].filter((seq) => seq <= message.upTo);
      this.#options.onClaim(claimed.filter((seq) => !session.dead.has(seq) && !session.refused.has(seq)));
      for (const seq of claimed) this.#kept.delete(seq);
    }
  }

  #sendAgain(seqs: readonly number[]): void {
    for (const seq of seqs) {
      const frame = this.#kept.get(seq);
      if (frame !== undefined) this.#sendFrame(seq, frame);
    }
  }
}
