import { setTimeout as sleep } from 'node:timers/promises';

/** Adds a listener that is called after every change; returns the function that removes it. */
export type Subscribe = (listener: () => void) => () => void;

/**
 * Resolves as soon as `holds()` is true; it is evaluated now and after every change.
 * Rejects with what `holds()` throws, or with the signal's reason.
 */
export function until(holds: () => boolean, onChange: Subscribe, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let unsubscribe = () => {};
    const finish = (settle: () => void) => {
      unsubscribe();
      signal?.removeEventListener('abort', evaluate);
      settle();
    };
    const evaluate = () => {
      try {
        if (signal?.aborted) finish(() => reject(signal.reason));
        else if (holds()) finish(resolve);
      } catch (error) {
        finish(() => reject(error));
      }
    };
    unsubscribe = onChange(evaluate);
    signal?.addEventListener('abort', evaluate);
    evaluate();
  });
}

/** Returns early, without an error, when the signal is aborted. */
export async function sleepUnlessAborted(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal }).catch(() => {});
}

/** Whether the work settled, resolved or rejected, within the time. */
export async function settledWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const settled = new AbortController();
  const end = () => settled.abort();
  work.then(end, end);
  await sleepUnlessAborted(timeoutMs, settled.signal);
  return settled.signal.aborted;
}
