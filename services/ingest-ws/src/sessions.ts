import { closeCodes } from '@fleetwire/contracts/device-protocol';
import type { AckSchedule } from './outbound.ts';
import type { Session } from './session.ts';

/** All open sockets of this instance: one session for each device, heartbeats, pausing, and the orderly end. */
export class Sessions {
  readonly #ackSchedule: AckSchedule;
  readonly #open = new Set<Session>();
  readonly #byDevice = new Map<string, Session>();
  #heartbeat: NodeJS.Timeout | undefined;
  #isPaused = false;

  constructor(ackSchedule: AckSchedule) {
    this.#ackSchedule = ackSchedule;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Runs until {@link closeAll}. */
  startHeartbeats(intervalMs: number): void {
    this.#heartbeat = setInterval(() => this.#beat(), intervalMs);
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
    session.saveStreamHistory();
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    for (const session of this.#open) {
      if (isPaused) session.pause();
      else session.resume();
    }
  }

  /** Sends the last acks, closes every socket with 1001 and waits until all are closed. Cuts those that do not answer in time. */
  async closeAll(timeoutMs: number): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#ackSchedule.flush();
    for (const session of this.#open)
      session.close(closeCodes.draining, 'this instance is shutting down; connect again');
    const deadline = AbortSignal.timeout(timeoutMs);
    await Promise.race([Promise.all([...this.#open].map((session) => session.whenClosed())), aborted(deadline)]);
    for (const session of this.#open) session.terminate();
  }

  #beat(): void {
    const now = Date.now();
    for (const session of this.#open) session.heartbeat(now);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
