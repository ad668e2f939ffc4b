import { median } from './median.ts';

/** What something small costs when it is done over and over in one thread. */
export interface Cost {
  readonly name: string;
  readonly microseconds: number;
}

const rounds = 5;
const roundMs = 200;

/** @param units that `once` works on; the cost is that of one */
export function cost(name: string, once: () => void, units = 1): Cost {
  return { name, microseconds: median(Array.from({ length: rounds }, () => timed(once))) / units };
}

function timed(once: () => void): number {
  const timesAtOnce = 10;
  const startedAt = performance.now();
  let times = 0;
  for (; performance.now() - startedAt < roundMs; times += timesAtOnce) for (let n = 0; n < timesAtOnce; n += 1) once();
  return ((performance.now() - startedAt) * 1_000) / times;
}
