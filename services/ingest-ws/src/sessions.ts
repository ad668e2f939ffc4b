import { closeCodes } from '@fleetwire/contracts/device-protocol';
import type { Session } from './session.ts';

export interface SessionsOptions {
  readonly heartbeatIntervalMs: number;
  /** Streams of past sessions whose last settled seq is remembered for `hello.lastSeq`. */
  readonly rememberedStreamsMax: number;
}

/** All open sockets of this instance: one session a device, heartbeats, pausing, acks once a tick, and the memory of past sessions. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #open = new Set<Session>();
  readonly #byDevice = new Map<string, Session>();
  readonly #lastSeqs = new Map<string, number>();
  readonly #toFlush = new Set<Session>();
  readonly #heartbeat: NodeJS.Timeout;
  #isPaused = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatIntervalMs);
  }

  get size(): number {
    return this.#open.size;
  }

  add(session: Session): void {
    this.#open.add(session);
    if (this.#isPaused) session.pause();
    if (session.claims.role !== 'device') return;
    const { sub } = session.claims;
    this.#byDevice.get(sub)?.close(closeCodes.replaced, 'the device has connected again');
    this.#byDevice.set(sub, session);
  }

  remove(session: Session): void {
    this.#open.delete(session);
    if (this.#byDevice.get(session.claims.sub) === session) this.#byDevice.delete(session.claims.sub);
    for (const { deviceId, epoch, upTo } of session.settledStreams()) this.#remember(`${deviceId}\n${epoch}`, upTo);
  }

  lastSeqOf(deviceId: string, epoch: string): number | undefined {
    return this.#lastSeqs.get(`${deviceId}\n${epoch}`);
  }

  /** Acks go out together, once everything that settled in this turn of the event loop is known. */
  scheduleFlush(session: Session): void {
    if (this.#toFlush.size === 0) setImmediate(() => this.#flush());
    this.#toFlush.add(session);
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    for (const session of this.#open) {
      if (isPaused) session.pause();
      else session.resume();
    }
  }

  /** Sends the last acks, closes every socket with 1001 and waits until they are gone; cuts those that do not answer. */
  async closeAll(timeoutMs: number): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#flush();
    for (const session of this.#open)
      session.close(closeCodes.draining, 'this instance is shutting down; connect again');
    const deadline = AbortSignal.timeout(timeoutMs);
    await Promise.race([Promise.all([...this.#open].map((session) => session.whenClosed())), aborted(deadline)]);
    for (const session of this.#open) session.terminate();
  }

  #flush(): void {
    const sessions = [...this.#toFlush];
    this.#toFlush.clear();
    for (const session of sessions) session.flushAcks();
  }

  #beat(): void {
    const now = Date.now();
    for (const session of this.#open) session.heartbeat(now);
  }

  #remember(key: string, upTo: number): void {
    this.#lastSeqs.delete(key);
    if (this.#lastSeqs.size >= this.#options.rememberedStreamsMax) {
      const [oldest] = this.#lastSeqs.keys();
      if (oldest !== undefined) this.#lastSeqs.delete(oldest);
    }
    this.#lastSeqs.set(key, upTo);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
