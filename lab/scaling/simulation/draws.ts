import { type Random, gaussian } from '../../fleet/random.ts';

const normalFrom = 30;

/** A number from the Poisson distribution. */
export function poisson(mean: number, random: Random): number {
  if (mean >= normalFrom) return Math.max(0, Math.round(mean + Math.sqrt(mean) * gaussian(random)));
  let count = 0;
  for (let left = random(); left > Math.exp(-mean); left *= random()) count += 1;
  return count;
}

/** A wait for a disk or another machine, without CPU time: a minimum plus an exponentially distributed rest. */
export interface Wait {
  readonly leastMs: number;
  readonly meanMs: number;
}

export const noWait: Wait = { leastMs: 0, meanMs: 0 };

export function drawMs({ leastMs, meanMs }: Wait, random: Random): number {
  return leastMs - meanMs * Math.log(1 - random());
}
