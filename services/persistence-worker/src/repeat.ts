import { setTimeout as sleep } from 'node:timers/promises';

export interface RepeatOptions {
  readonly failurePauseMs: number;
  /** Called for the first failure in a row: while a server is away, the same one comes again and again. */
  readonly onFailure: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Repeats a task, which resolves with its next pause in milliseconds, until the signal is aborted. A failed task is repeated. */
export async function repeat(
  task: () => Promise<number>,
  { failurePauseMs, onFailure, signal }: RepeatOptions,
): Promise<void> {
  let isFailing = false;
  while (!signal.aborted) {
    let pauseMs = failurePauseMs;
    try {
      pauseMs = await task();
      isFailing = false;
    } catch (error) {
      if (signal.aborted) return;
      if (!isFailing) onFailure(error);
      isFailing = true;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
