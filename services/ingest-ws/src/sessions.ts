import type { ReadSession } from '@fleetwire/auth/authenticate';
import { closeCodes } from '@fleetwire/contracts/device-protocol';
import { isSessionToken } from '@fleetwire/contracts/session';
import type { AckSchedule } from './outbound.ts';
import type { Session } from './session.ts';

/** A subscription ends within 5 s after its token: this, and the time after which a changed file of keys is read. */
const tokenCheckMs = 1_000;

interface TokenChecks {
  /** Thumbprints of the keys that tokens may be signed with now; undefined where no token is checked. */
  readonly currentKeys: () => Promise<ReadonlySet<string> | undefined>;
  /** Undefined where no session of a browser is accepted. */
  readonly readSession: ReadSession | undefined;
}

/** All open sockets of this instance: one session for each device, heartbeats, pausing, and the orderly end. */
export class Sessions {
  readonly #ackSchedule: AckSchedule;
  readonly #open = new Set<Session>();
  readonly #byDevice = new Map<string, Session>();
  #heartbeat: NodeJS.Timeout | undefined;
  #tokenCheck: NodeJS.Timeout | undefined;
  #isPaused = false;

  constructor(ackSchedule: AckSchedule) {
    this.#ackSchedule = ackSchedule;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Runs until {@link closeAll}. */
  startHeartbeats(intervalMs: number, checks: TokenChecks): void {
    this.#heartbeat = setInterval(() => this.#beat(), intervalMs);
    this.#tokenCheck = setInterval(() => void this.#checkTokens(checks), tokenCheckMs);
  }

  add(session: Session): void {
    this.#open.add(session);
    if (this.#isPaused) session.pause();
    if (session.claims.role !== 'device') return;
    const { sub } = session.claims;
    this.#byDevice.get(sub)?.close(closeCodes.replaced, 'the device has connected again');
    this.#byDevice.set(sub, session);
  }

  ofDevice(deviceId: string): Session | undefined {
    return this.#byDevice.get(deviceId);
  }

  remove(session: Session): void {
    this.#open.delete(session);
    if (this.#byDevice.get(session.claims.sub) === session) this.#byDevice.delete(session.claims.sub);
    session.ended();
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    for (const session of this.#open) {
      if (isPaused) session.pause();
      else session.resume();
    }
  }

  /** Closes the sockets of devices that may not publish any more. */
  closeRefused(refusalOf: (deviceId: string) => string | undefined): void {
    for (const [deviceId, session] of this.#byDevice) {
      const refusal = refusalOf(deviceId);
      if (refusal !== undefined) session.close(closeCodes.forbidden, `this device ${refusal}`);
    }
  }

  /** Sends the last acks, closes every socket with 1001 and waits until all are closed. Cuts those that do not answer in time. */
  async closeAll(timeoutMs: number): Promise<void> {
    clearInterval(this.#heartbeat);
    clearInterval(this.#tokenCheck);
    this.#ackSchedule.flush();
    for (const session of this.#open)
      session.close(closeCodes.draining, 'this instance is shutting down; connect again');
    const deadline = AbortSignal.timeout(timeoutMs);
    await Promise.race([Promise.all([...this.#open].map((session) => session.whenClosed())), aborted(deadline)]);
    for (const session of this.#open) session.terminate();
  }

  #beat(): void {
    for (const session of this.#open) session.heartbeat();
  }

  /** Apart from the beat, which must not wait for a file: two beats in a row would cut sockets that had no time to answer. */
  async #checkTokens({ currentKeys, readSession }: TokenChecks): Promise<void> {
    const keys = await currentKeys();
    const now = Date.now();
    for (const session of this.#open) {
      session.checkToken(keys, now);
      const { token } = session.caller;
      if (readSession !== undefined && token !== undefined && isSessionToken(token))
        void this.#checkSession(session, token, readSession);
    }
  }

  async #checkSession(session: Session, token: string, readSession: ReadSession): Promise<void> {
    // While it cannot be read the socket goes on, until the session expires.
    const read = await readSession(token).catch(() => undefined);
    if (read?.ok === false) session.endBrowserSession();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
