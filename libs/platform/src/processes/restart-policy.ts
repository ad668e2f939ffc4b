import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';

/** Whether and when a process that exits unexpectedly is started again. */
export interface RestartPolicy {
  /** Restarts in a row; after that the process is given up. */
  readonly restartsMax: number;
  /** A process that ran this long starts a new row. */
  readonly steadyAfterMs: number;
  readonly backoff: Backoff;
}

/** For an installation in use: a few restarts with growing delays. */
export const restartWithBackoff: RestartPolicy = {
  restartsMax: 5,
  steadyAfterMs: 60_000,
  backoff: { baseMs: 500, capMs: 15_000 },
};

/**
 * @param before the number of the restart before, in its row; 0 without one
 * @returns the number of this restart and the delay before it, or undefined where the process is given up
 */
export function nextRestart(
  { restartsMax, steadyAfterMs, backoff }: RestartPolicy,
  before: number,
  ranMs: number,
): { readonly restart: number; readonly inMs: number } | undefined {
  const restart = ranMs >= steadyAfterMs ? 1 : before + 1;
  // Without jitter: the processes do not compete for a server.
  return restart > restartsMax ? undefined : { restart, inMs: backoffMs(backoff, restart, 1) };
}
