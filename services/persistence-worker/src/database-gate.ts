import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { Logger } from '@fleetwire/runtime/logger';
import { type FailureClass, isStatementTimeout } from '@fleetwire/store/failure';

export interface DatabaseGateOptions {
  readonly classify: (error: unknown) => FailureClass;
  /** Resolves when Postgres answers and readings may be written to it. */
  readonly probe: () => Promise<unknown>;
  /** Between two probes. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  /** Aborted when the worker must stop waiting. */
  readonly signal: AbortSignal;
}

/** What happened before a try. */
export interface EarlierTries {
  /** One of them may have been committed although the answer was lost. */
  readonly mayBeCommitted: boolean;
  /** The work had to wait because Postgres was unavailable. */
  readonly wasUnavailable: boolean;
}

/** The other transaction is about to finish: random up to 50 ms, and not growing. */
const collisionBackoff: Backoff = { baseMs: 50, capMs: 50 };
const collisionsPerWarning = 100;

/**
 * Holds all work on Postgres while Postgres is unavailable: the first failure closes the gate, one probe finds out when Postgres is back,
 * and all work waits for that probe. The pauses grow until work has succeeded, not merely a probe, so that a database that answers but
 * cannot write is not flooded with tries.
 */
export class DatabaseGate {
  readonly #options: DatabaseGateOptions;
  /** Resolves with whether Postgres was unavailable: the gate is also closed until the first probe. */
  #closed: Promise<boolean> | undefined;
  #failures = 0;
  #lastFailure: unknown;

  constructor(options: DatabaseGateOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /** Why the gate is closed: the newest failure of work or of a probe; undefined while it is open, and before the first probe. */
  get lastFailure(): unknown {
    return this.isOpen ? undefined : this.#lastFailure;
  }

  /** Holds all work until a probe has succeeded. The first one is immediate. */
  closeUntilProbed(): void {
    if (this.isOpen) this.#closeUntil(this.#probeUntilOpen());
  }

  /**
   * Runs work on Postgres until Postgres has executed or refused it: waits while Postgres is unavailable (`hold`), and repeats work that
   * collided with another transaction (`retry-now`).
   *
   * @param options.timeoutsMax after this many statement timeouts, between which probes have succeeded, the last one is thrown: the work itself takes too long
   * @throws what Postgres refuses for its content (`bad-data`), an `unknown` failure, the last of these timeouts, or the signal's reason
   */
  async retryWhileUnavailable<T>(
    work: (earlier: EarlierTries) => Promise<T>,
    { timeoutsMax = Number.POSITIVE_INFINITY }: { readonly timeoutsMax?: number } = {},
  ): Promise<T> {
    const { classify, logger, signal } = this.#options;
    let mayBeCommitted = false;
    let wasUnavailable = false;
    let timeouts = 0;
    for (let collisions = 0; ;) {
      signal.throwIfAborted();
      while (this.#closed !== undefined)
        wasUnavailable = (await settledOrAborted(this.#closed, signal)) || wasUnavailable;
      try {
        const result = await work({ mayBeCommitted, wasUnavailable });
        this.#failures = 0;
        return result;
      } catch (error) {
        const failure = classify(error);
        if (failure === 'retry-now') {
          collisions += 1;
          if (collisions % collisionsPerWarning === 0)
            logger.warn(
              { reason: String(error), collisions },
              'work on Postgres keeps colliding with another transaction; still retrying',
            );
          await sleep(backoffMs(collisionBackoff, 1), undefined, { signal });
        } else if (failure !== 'hold') throw error;
        else {
          if (isStatementTimeout(error)) timeouts += 1;
          if (timeouts >= timeoutsMax) throw error;
          this.#close(error);
          mayBeCommitted = true;
        }
      }
    }
  }

  #close(failure: unknown): void {
    if (!this.isOpen) return;
    this.#holdBecause(failure);
    this.#closeUntil(this.#pause().then(() => this.#probeUntilOpen()));
  }

  #closeUntil(open: Promise<void>): void {
    this.#closed = open.then(() => {
      const wasUnavailable = this.#lastFailure !== undefined;
      this.#closed = undefined;
      this.#lastFailure = undefined;
      return wasUnavailable;
    });
  }

  async #probeUntilOpen(): Promise<void> {
    const { probe, logger, signal } = this.#options;
    for (; !signal.aborted; await this.#pause()) {
      try {
        await probe();
        if (this.#failures > 0) logger.info('Postgres is available again');
        return;
      } catch (error) {
        // Still unavailable: the next pause is longer.
        this.#holdBecause(error);
      }
    }
  }

  #holdBecause(failure: unknown): void {
    if (String(failure) === String(this.#lastFailure)) return;
    this.#lastFailure = failure;
    this.#options.logger.warn({ reason: String(failure) }, 'holding: cannot write to Postgres');
  }

  async #pause(): Promise<void> {
    const { backoff, signal } = this.#options;
    this.#failures += 1;
    await sleep(backoffMs(backoff, this.#failures), undefined, { signal }).catch(() => {});
  }
}

async function settledOrAborted<T>(settled: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([settled, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
