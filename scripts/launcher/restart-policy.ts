import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';

export const restartsMax = 5;
const steadyAfterMs = 60_000;
const restartBackoff: Backoff = { baseMs: 500, capMs: 15_000 };

/** @returns how many restarts count against the bound now; a program that ran steadily starts afresh */
export function countRestart(before: number, ranMs: number): number {
  return ranMs >= steadyAfterMs ? 1 : before + 1;
}

/** Doubles with each restart in a row. Without jitter: one launcher has no other to collide with. */
export function restartDelayMs(restarts: number): number {
  return backoffMs(restartBackoff, restarts, 1);
}
