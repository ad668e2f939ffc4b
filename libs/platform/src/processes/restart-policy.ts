/** Whether and when a process that exits unexpectedly is started again. */
export interface RestartPolicy {
  /** Restarts in a row; after that the process is given up. */
  readonly restartsMax: number;
  /** A process that ran this long starts a new row. */
  readonly steadyAfterMs: number;
  /** @param restart from 1 */
  delayMs(restart: number): number;
}

const delayBaseMs = 500;
const delayCapMs = 15_000;

/** For an installation that someone uses: tries a few times, with growing delays, then gives up. */
export const restartWithBackoff: RestartPolicy = {
  restartsMax: 5,
  steadyAfterMs: 60_000,
  delayMs: (restart) => Math.min(delayCapMs, delayBaseMs * 2 ** (restart - 1)),
};

/** @returns the number of this restart in its row, or undefined where the process is given up */
export function nextRestart({ restartsMax, steadyAfterMs }: RestartPolicy, before: number, ranMs: number) {
  const restart = ranMs >= steadyAfterMs ? 1 : before + 1;
  return restart > restartsMax ? undefined : restart;
}
