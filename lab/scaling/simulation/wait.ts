import type { Random } from '../../fleet/random.ts';

/** For a disk or another machine, without CPU time: at least so long, and exponentially longer. */
export interface Wait {
  readonly leastMs: number;
  readonly meanMs: number;
}

export const noWait: Wait = { leastMs: 0, meanMs: 0 };

export function drawMs({ leastMs, meanMs }: Wait, random: Random): number {
  return leastMs - meanMs * Math.log(1 - random());
}
