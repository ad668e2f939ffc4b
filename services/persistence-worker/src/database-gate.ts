import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { Logger } from '@fleetwire/runtime/logger';
import type { FailureClass } from '@fleetwire/store/failure';

export interface DatabaseGateOptions {
  readonly classify: (error: unknown) => FailureClass;
  /** Resolves when Postgres answers. */
  readonly probe: () => Promise<unknown>;
  /** Between two probes. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  /** Aborted when the worker must stop waiting. */
  readonly signal: AbortSignal;
}

/** The other transaction is about to finish: short, and not growing. */
const collisionBackoff: Backoff = { baseMs: 50, capMs: 50 };

/**
 * Holds all work on Postgres while Postgres is unavailable: the first failure closes the gate, one probe finds out when Postgres is back,
 * and all work waits for that probe. The pauses grow until work has succeeded, not merely a probe, so that a database that answers but
 * cannot write is not flooded with tries.
 */
export class DatabaseGate {
  readonly #options: DatabaseGateOptions;
  #closed: Promise<void> | undefined;
  #failures = 0;

  constructor(options: DatabaseGateOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /**
   * Runs work on Postgres until Postgres has executed or refused it: waits while Postgres is unavailable (`hold`), and repeats work that
   * collided with another transaction (`retry-now`).
   *
   * @param work its argument: whether an earlier try may have been committed although the answer was lost
   * @throws what Postgres refuses for its content (`bad-data`), an `unknown` failure, or the signal's reason
   */
  async retryWhileUnavailable<T>(work: (mayBeCommitted: boolean) => Promise<T>): Promise<T> {
    const { classify, signal } = this.#options;
    let mayBeCommitted = false;
    for (;;) {
      signal.throwIfAborted();
      while (this.#closed !== undefined) await settledOrAborted(this.#closed, signal);
      try {
        const result = await work(mayBeCommitted);
        this.#failures = 0;
        return result;
      } catch (error) {
        const failure = classify(error);
        if (failure === 'retry-now') await sleep(backoffMs(collisionBackoff, 1), undefined, { signal });
        else if (failure !== 'hold') throw error;
        else {
          this.#close(error);
          mayBeCommitted = true;
        }
      }
    }
  }

  #close(reason: unknown): void {
    if (this.#closed !== undefined) return;
    this.#options.logger.warn({ reason: String(reason) }, 'holding: Postgres is unavailable');
    this.#closed = this.#probeUntilOpen().finally(() => {
      this.#closed = undefined;
    });
  }

  async #probeUntilOpen(): Promise<void> {
    const { probe, backoff, logger, signal } = this.#options;
    while (!signal.aborted) {
      this.#failures += 1;
      await sleep(backoffMs(backoff, this.#failures), undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await probe();
        logger.info('Postgres is available again');
        return;
      } catch {
        // Still unavailable: the next pause is longer.
      }
    }
  }
}

async function settledOrAborted(settled: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([settled, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
