import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { FailureClass } from '@fleetwire/store/failure';
import type { DatabaseGate } from './database-gate.ts';

export interface RetryOptions {
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
  /** Aborted when the worker must stop waiting. */
  readonly signal: AbortSignal;
}

/**
 * Runs work on Postgres until Postgres has executed or refused it: waits at the gate while Postgres is unavailable (`hold`), and repeats
 * work that collided with another transaction (`retry-now`).
 *
 * @param work its argument: whether an earlier try may have been committed although the answer was lost
 * @throws what Postgres refuses for its content (`bad-data`), an `unknown` failure, or the signal's reason
 */
export type RetryWhileUnavailable = <T>(work: (mayBeCommitted: boolean) => Promise<T>) => Promise<T>;

/** The other transaction is about to finish: short, and not growing. */
const collisionBackoff: Backoff = { baseMs: 50, capMs: 50 };

export function createRetryWhileUnavailable({ classify, gate, signal }: RetryOptions): RetryWhileUnavailable {
  return async (work) => {
    let mayBeCommitted = false;
    for (;;) {
      await gate.pass(signal);
      try {
        const result = await work(mayBeCommitted);
        gate.succeeded();
        return result;
      } catch (error) {
        const failure = classify(error);
        if (failure === 'retry-now') await sleep(backoffMs(collisionBackoff, 1), undefined, { signal });
        else if (failure !== 'hold') throw error;
        else {
          gate.close(error, signal);
          mayBeCommitted = true;
        }
      }
    }
  };
}
