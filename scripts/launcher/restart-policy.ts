export const restartsMax = 5;
const steadyAfterMs = 60_000;
const delayBaseMs = 500;
const delayCapMs = 15_000;

/** @returns how many restarts count against the bound now; a program that ran steadily starts afresh */
export function countRestart(before: number, ranMs: number): number {
  return ranMs >= steadyAfterMs ? 1 : before + 1;
}

/** Doubles with each restart in a row. */
export function restartDelayMs(restarts: number): number {
  return Math.min(delayCapMs, delayBaseMs * 2 ** (restarts - 1));
}
