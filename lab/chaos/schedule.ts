import { seededRandom } from '../fleet/random.ts';
import type { Fault } from './fault.ts';

export interface ScheduledFault<F> {
  readonly fault: F;
  /** After the start, at the earliest; later where the fault before it takes longer to heal. */
  readonly atMs: number;
  readonly holdMs: number;
}

type Schedulable = Pick<Fault, 'name' | 'component' | 'holdMinMs' | 'holdMaxMs'>;

const pauseMinMs = 500;
const pauseMaxMs = 20_000;

/**
 * Plans the faults of each component: all of them in random order, again and again until the time is over, each at least once. The same
 * faults, duration and seed make the same schedule.
 */
export function schedule<F extends Schedulable>(
  faults: readonly F[],
  { durationMs, seed }: { durationMs: number; seed: number },
): Map<F['component'], ScheduledFault<F>[]> {
  const components = Map.groupBy(faults, ({ component }) => component);
  return new Map(
    [...components].map(([component, ofComponent], index) => [
      component,
      componentSchedule(ofComponent, durationMs, seed * 1_000 + index),
    ]),
  );
}

function componentSchedule<F extends Schedulable>(
  faults: readonly F[],
  durationMs: number,
  seed: number,
): ScheduledFault<F>[] {
  const random = seededRandom(seed);
  const busyMs = faults.reduce((sum, { holdMinMs, holdMaxMs }) => sum + (holdMinMs + holdMaxMs) / 2, 0);
  const meanPauseMs = Math.min(pauseMaxMs, Math.max(pauseMinMs, (durationMs - busyMs) / faults.length));
  const pause = () => meanPauseMs * (0.5 + random());
  const scheduled: ScheduledFault<F>[] = [];
  for (let atMs = pause(); scheduled.length === 0 || atMs < durationMs;) {
    for (const fault of shuffled(faults, random)) {
      if (scheduled.length >= faults.length && atMs >= durationMs) break;
      const holdMs = fault.holdMinMs + random() * (fault.holdMaxMs - fault.holdMinMs);
      scheduled.push({ fault, atMs: Math.round(atMs), holdMs: Math.round(holdMs) });
      atMs += holdMs + pause();
    }
  }
  return scheduled;
}

/** Fisher and Yates. */
function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const result = [...list];
  for (let at = result.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [result[at], result[other]] = [result[other]!, result[at]!];
  }
  return result;
}
