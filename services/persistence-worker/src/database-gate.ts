import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '@fleetwire/contracts/backoff';
import type { Logger } from '@fleetwire/runtime/logger';

export interface DatabaseGateOptions {
  /** Resolves when Postgres answers. */
  readonly probe: () => Promise<unknown>;
  readonly baseMs: number;
  readonly capMs: number;
  readonly logger: Logger;
}

/**
 * Holds all writers while Postgres is unavailable: the first failed write closes it, one probe finds out when Postgres is back, and all
 * writers wait for that probe. The pauses grow until a write has succeeded, not merely a probe, so that a database that answers but
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

  /** Resolves when a write may be tried. @throws the signal's reason */
  async pass(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (this.#closed !== undefined) await settledOrAborted(this.#closed, signal);
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** A write failed because Postgres is unavailable; the gate opens again when a probe succeeds. */
  close(reason: unknown, signal: AbortSignal): void {
    if (this.#closed !== undefined) return;
    this.#options.logger.warn({ reason: String(reason) }, 'holding: Postgres is unavailable');
    this.#closed = this.#probeUntilOpen(signal).finally(() => {
      this.#closed = undefined;
    });
  }

  async #probeUntilOpen(signal: AbortSignal): Promise<void> {
    const { probe, logger } = this.#options;
    while (!signal.aborted) {
      this.#failures += 1;
      await sleep(backoffMs(this.#options, this.#failures), undefined, { signal }).catch(() => {});
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
