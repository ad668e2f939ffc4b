import { setTimeout as sleep } from 'node:timers/promises';

/** Bounds of a pause that grows with each failed attempt, in milliseconds. */
export interface Backoff {
  baseMs: number;
  capMs: number;
}

/**
 * Full jitter: anything between nothing and an exponentially growing ceiling, so that clients which lost the
 * same broker do not come back in step. Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
 *
 * @param attempt failures so far, counted from 0
 */
export function fullJitterMs(attempt: number, { baseMs, capMs }: Backoff, random: () => number = Math.random): number {
  return random() * Math.min(capMs, baseMs * 2 ** attempt);
}

/** Waits, or returns early when the signal is aborted. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal }).catch(() => {});
}

/** Whether the work came to an end, good or bad, before the time was up. */
export async function settledWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const settled = new AbortController();
  const end = () => settled.abort();
  work.then(end, end);
  await pause(timeoutMs, settled.signal);
  return settled.signal.aborted;
}
