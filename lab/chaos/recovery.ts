import type { TimelineEntry } from './timeline.ts';

export interface Recovery {
  readonly fault: string;
  readonly seconds: number;
}

/**
 * Of all faults, the longest time from its end (when healing begins) until a reading was acknowledged and one was stored again. Faults of other
 * components may last on, so this is the recovery of the platform and not of one component. Pure.
 * @param ackedAt times of acks, in order; milliseconds after the start, as in the timeline
 * @param storedAt times at which the workers were seen to have stored more
 */
export function longestRecovery(
  timeline: readonly TimelineEntry[],
  ackedAt: readonly number[],
  storedAt: readonly number[],
): Recovery | undefined {
  const recoveries = timeline.flatMap(({ fault, endedAtMs, healedAtMs }): Recovery[] => {
    const acked = ackedAt.find((at) => at >= healedAtMs);
    const stored = storedAt.find((at) => at >= healedAtMs);
    if (acked === undefined || stored === undefined) return [];
    return [{ fault, seconds: (Math.max(acked, stored) - endedAtMs) / 1_000 }];
  });
  return recoveries.toSorted((a, b) => b.seconds - a.seconds)[0];
}
