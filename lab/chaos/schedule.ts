import { type Random, seededRandom } from '../fleet/random.ts';
import type { Fault } from './fault.ts';

export interface ScheduledFault<F> {
  readonly fault: F;
  /** After the start, at the earliest; later where the fault before it takes longer to heal. */
  readonly atMs: number;
  readonly holdMs: number;
}

type Schedulable = Pick<Fault, 'name' | 'component' | 'holdMinMs' | 'holdMaxMs' | 'isFrequent'>;

const pauseMinMs = 500;
const pauseMaxMs = 20_000;
/** Between frequent faults. With the time that a process takes to start, one is injected about every 4 s. */
const frequentPauseMinMs = 1_000;
const frequentPauseMaxMs = 3_000;

/**
 * Plans the faults of each component: all of them in random order, again and again until the time is over, each at least once; frequent ones
 * in every pause between the others. The same faults, duration and seed make the same schedule.
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
  const { frequent = [], rare = [] } = Object.groupBy(faults, ({ isFrequent = false }) =>
    isFrequent ? 'frequent' : 'rare',
  );
  const scheduled = rareSchedule(rare, durationMs, random);
  return frequent.length === 0 ? scheduled : withFrequent(scheduled, frequent, durationMs, random);
}

function rareSchedule<F extends Schedulable>(
  faults: readonly F[],
  durationMs: number,
  random: Random,
): ScheduledFault<F>[] {
  if (faults.length === 0) return [];
  const busyMs = faults.reduce((sum, { holdMinMs, holdMaxMs }) => sum + (holdMinMs + holdMaxMs) / 2, 0);
  const meanPauseMs = Math.min(pauseMaxMs, Math.max(pauseMinMs, (durationMs - busyMs) / faults.length));
  const pause = () => meanPauseMs * (0.5 + random());
  const scheduled: ScheduledFault<F>[] = [];
  for (let atMs = pause(); scheduled.length === 0 || atMs < durationMs;) {
    for (const fault of shuffled(faults, random)) {
      if (scheduled.length >= faults.length && atMs >= durationMs) break;
      const one = planned(fault, atMs, random);
      scheduled.push(one);
      atMs += one.holdMs + pause();
    }
  }
  return scheduled;
}

/** Fills the pauses with the frequent faults in turn, each at least once. */
function withFrequent<F extends Schedulable>(
  rare: readonly ScheduledFault<F>[],
  frequent: readonly F[],
  durationMs: number,
  random: Random,
): ScheduledFault<F>[] {
  const pause = () => frequentPauseMinMs + random() * (frequentPauseMaxMs - frequentPauseMinMs);
  const scheduled: ScheduledFault<F>[] = [];
  let injected = 0;
  let atMs = pause();
  const fillUntil = (endMs: number) => {
    while (atMs < endMs) {
      const one = planned(frequent[injected % frequent.length]!, atMs, random);
      if (one.atMs + one.holdMs > endMs) break;
      scheduled.push(one);
      injected += 1;
      atMs += one.holdMs + pause();
    }
  };
  for (const one of rare) {
    fillUntil(one.atMs);
    scheduled.push(one);
    atMs = one.atMs + one.holdMs + pause();
  }
  fillUntil(durationMs);
  for (; injected < frequent.length; injected += 1) {
    const one = planned(frequent[injected]!, atMs, random);
    scheduled.push(one);
    atMs += one.holdMs + pause();
  }
  return scheduled;
}

function planned<F extends Schedulable>(fault: F, atMs: number, random: Random): ScheduledFault<F> {
  const holdMs = fault.holdMinMs + random() * (fault.holdMaxMs - fault.holdMinMs);
  return { fault, atMs: Math.round(atMs), holdMs: Math.round(holdMs) };
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
