import { setTimeout as sleep } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Bounds a failing test only; long enough for a machine whose cores are busy with something else. Name one for a promise about time. */
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Repeats an attempt until it does not throw, and resolves with what it returned. Works in a test and outside of one.
 * @throws the last error when the time is up; the signal's reason when it aborts
 */
export async function eventually<Result>(
  attempt: () => Result | Promise<Result>,
  { timeoutMs = 60_000, intervalMs = 25, signal }: EventuallyOptions = {},
): Promise<Result> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([timeout, ...(signal === undefined ? [] : [signal])]);
  const interrupted = new Promise<never>((_, reject) => {
    ended.addEventListener('abort', () => reject(ended.reason as Error));
  });
  interrupted.catch(() => {});
  let lastError: unknown;
  for (;;) {
    signal?.throwIfAborted();
    try {
      // An attempt that hangs must not outlast the deadline.
      return await Promise.race([attempt(), interrupted]);
    } catch (error) {
      signal?.throwIfAborted();
      if (timeout.aborted) throw error === timeout.reason ? (lastError ?? error) : error;
      lastError = error;
    }
    await sleep(intervalMs, undefined, { signal: ended }).catch(() => {});
    if (timeout.aborted) throw lastError;
  }
}
