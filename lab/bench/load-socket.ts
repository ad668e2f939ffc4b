import type { RecordableHistogram } from 'node:perf_hooks';
import type { Socket } from 'node:net';
import type { NackMessage, ServerMessage } from '@fleetwire/contracts/device-protocol';
import { subprotocol } from '@fleetwire/contracts/device-protocol';
import { backoffMs, deviceReconnectBackoff } from '@fleetwire/contracts/backoff';
import { WebSocket } from 'ws';
import { textFrame } from './raw-frame.ts';
import { frameText } from './workload.ts';

export interface LoadSocketOptions {
  readonly url: string;
  readonly token: string;
  readonly device: number;
  readonly readingsPerFrame: number;
  readonly startTs: number;
  /** Delay of the first reconnection after the server dropped the socket; further attempts back off as the device protocol says. Undefined: a drop is a failure. */
  readonly returnDelayMs: (() => number) | undefined;
  readonly latency: RecordableHistogram;
  readonly onAck: (socket: LoadSocket) => void;
  readonly onFailure: (error: Error) => void;
}

/** The connection ended without a close frame (RFC 6455, 7.4.1). */
const dropped = 1006;

/** A device with the least CPU cost: frames bypass the sender of `ws`, and frames that are due together leave in one write. */
export class LoadSocket {
  nackedReadings = 0;
  /** When the server dropped the first socket, and when the last attempt to connect began and succeeded: milliseconds of the monotonic clock. */
  lostAt: number | undefined;
  attemptedAt = 0;
  helloAt = 0;
  /** Failed attempts to reconnect. */
  failures = 0;
  /** The server refused the device for good. */
  isRefused = false;
  readonly #options: LoadSocketOptions;
  readonly #opened = Promise.withResolvers<void>();
  #webSocket: WebSocket;
  #raw: Socket | undefined;
  #nextSeq = 1;
  #ackedUpTo = 0;
  /** When each frame in flight was sent, the oldest first. */
  #sentAt: number[] = [];
  #isClosing = false;

  constructor(options: LoadSocketOptions) {
    this.#options = options;
    this.#webSocket = this.#connect();
  }

  /** Resolves with the first hello. */
  opened(): Promise<void> {
    return this.#opened.promise;
  }

  get framesInFlight(): number {
    return this.#sentAt.length;
  }

  send(frames: number): void {
    const { device, readingsPerFrame, startTs } = this.#options;
    const parts: Buffer[] = [];
    const now = performance.now();
    for (let n = 0; n < frames; n += 1) {
      parts.push(textFrame(frameText(device, this.#nextSeq, readingsPerFrame, startTs)));
      this.#nextSeq += readingsPerFrame;
      this.#sentAt.push(now);
    }
    this.#raw?.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  }

  close(): Promise<void> {
    this.#isClosing = true;
    return new Promise((resolve) => {
      this.#webSocket.once('close', () => resolve());
      this.#webSocket.close(1000);
    });
  }

  #connect(): WebSocket {
    const { url, token } = this.#options;
    this.attemptedAt = performance.now();
    const webSocket = new WebSocket(url, subprotocol, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
    });
    webSocket.on('upgrade', ({ socket }) => {
      this.#raw = socket;
    });
    webSocket.once('message', () => {
      this.helloAt = performance.now();
      this.#opened.resolve();
      webSocket.on('message', (data: Buffer) => this.#receive(data.toString('utf8')));
    });
    webSocket.on('unexpected-response', (_, { statusCode = 0 }) => {
      this.isRefused = statusCode < 500;
      webSocket.terminate();
    });
    let problem = '';
    webSocket.on('error', ({ message }) => (problem = `: ${message}`));
    webSocket.on('close', (code, reason) => {
      if (!this.#isClosing) this.#lost(code, `${code} ${String(reason)}${problem}`);
    });
    return webSocket;
  }

  #lost(code: number, why: string): void {
    const { returnDelayMs, onFailure } = this.#options;
    if (returnDelayMs === undefined || this.helloAt === 0) return onFailure(new Error(`lost a socket: ${why}`));
    this.isRefused ||= code !== dropped;
    if (this.isRefused) return;
    const reconnectIn = (ms: number) => setTimeout(() => (this.#webSocket = this.#connect()), ms);
    if (this.lostAt === undefined) {
      this.lostAt = performance.now();
      reconnectIn(returnDelayMs());
    } else {
      this.failures += 1;
      reconnectIn(backoffMs(deviceReconnectBackoff, this.failures, Math.random()));
    }
  }

  #receive(text: string): void {
    const message = JSON.parse(text) as ServerMessage;
    if (message.type === 'ack') return this.#acked(message.upTo);
    if (message.type === 'nack') return this.#nacked(message);
    this.#options.onFailure(new Error(`unexpected message: ${text}`));
  }

  #acked(upTo: number): void {
    const { latency, onAck, readingsPerFrame } = this.#options;
    const now = performance.now();
    const frames = Math.floor((upTo - this.#ackedUpTo) / readingsPerFrame);
    for (const sentAt of this.#sentAt.splice(0, frames)) latency.record(microseconds(now - sentAt));
    this.#ackedUpTo += frames * readingsPerFrame;
    onAck(this);
  }

  #nacked({ seq, count, retryable, retryAfterMs = 0, code }: NackMessage): void {
    const { device, readingsPerFrame, startTs, onFailure } = this.#options;
    if (!retryable) return onFailure(new Error(`the server rejected readings: ${code}`));
    this.nackedReadings += count;
    setTimeout(() => {
      for (let at = seq; at < seq + count; at += readingsPerFrame)
        this.#raw?.write(textFrame(frameText(device, at, readingsPerFrame, startTs)));
    }, retryAfterMs);
  }
}

/** For a histogram, which takes integers from 1. */
export function microseconds(milliseconds: number): number {
  return Math.max(1, Math.round(milliseconds * 1_000));
}
