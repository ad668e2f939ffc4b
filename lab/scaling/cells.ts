import { seededRandom } from '../fleet/random.ts';
import { poisson } from './simulation/draws.ts';

/** Devices of one kind, and how much each sends. */
export interface Kind {
  readonly devices: number;
  readonly messagesPerSecond: number;
}

/** @returns load of the busiest cell ÷ mean load, when a hash of the device id assigns the cell */
export function hashImbalance(kinds: readonly Kind[], cells: number, seed = 1): number {
  const random = seededRandom(seed);
  const loads = Array.from({ length: cells }, () =>
    kinds.reduce((sum, kind) => sum + poisson(kind.devices / cells, random) * kind.messagesPerSecond, 0),
  );
  return mostOverMean(loads);
}

/** The same for a hash ring. @param weight points of each cell on the ring, as the binding key of RabbitMQ's consistent-hash exchange */
export function ringImbalance(cells: number, weight: number, seed = 1): number {
  const random = seededRandom(seed);
  const points = Array.from({ length: cells * weight }, (_, at) => ({ at: random(), cell: at % cells }));
  points.sort((a, b) => a.at - b.at);
  const shares = Array.from({ length: cells }, () => 0);
  for (const [index, { at, cell }] of points.entries()) {
    const before = points[index - 1]?.at ?? points.at(-1)!.at - 1;
    shares[cell]! += at - before;
  }
  return mostOverMean(shares);
}

function mostOverMean(loads: readonly number[]): number {
  return Math.max(...loads) / (loads.reduce((sum, load) => sum + load, 0) / loads.length);
}
