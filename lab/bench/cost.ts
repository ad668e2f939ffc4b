import { median } from './figure.ts';

/** The time of one call of a small function, repeated in one thread. */
export interface Cost {
  readonly name: string;
  readonly microseconds: number;
}

const rounds = 5;
const roundMs = 200;

/** @param units that one call processes; the cost is that of one unit */
export function cost(name: string, once: () => void, units = 1): Cost {
  return { name, microseconds: median(Array.from({ length: rounds }, () => timed(once))) / units };
}

function timed(once: () => void): number {
  const callsPerClockRead = 10;
  const startedAt = performance.now();
  let times = 0;
  for (; performance.now() - startedAt < roundMs; times += callsPerClockRead)
    for (let n = 0; n < callsPerClockRead; n += 1) once();
  return ((performance.now() - startedAt) * 1_000) / times;
}
