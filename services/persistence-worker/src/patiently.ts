import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseGate } from './database-gate.ts';

/** What a failure asks for (architecture: failure policy). */
export type FailureClass = 'hold' | 'retry-now' | 'bad-data' | 'unknown';

export interface Patience {
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
}

const retryNowPauseMs = 50;

/**
 * Works on Postgres until it answers: holds while it is away, and tries again at once where that helps.
 *
 * @param work is told whether a try before may have been committed without our hearing of it
 * @throws what Postgres has against the work itself, and what nobody knows; the signal's reason
 */
export async function patiently<T>(
  { gate, classify }: Patience,
  signal: AbortSignal,
  work: (mayBeDone: boolean) => Promise<T>,
): Promise<T> {
  let mayBeDone = false;
  for (;;) {
    await gate.pass(signal);
    try {
      const result = await work(mayBeDone);
      gate.succeeded();
      return result;
    } catch (error) {
      const failure = classify(error);
      if (failure === 'retry-now') await sleep(Math.random() * retryNowPauseMs, undefined, { signal });
      else if (failure !== 'hold') throw error;
      else {
        gate.close(error, signal);
        mayBeDone = true;
      }
    }
  }
}
