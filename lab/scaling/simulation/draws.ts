import { type Random, gaussian } from '../../fleet/random.ts';

const normalFrom = 30;

/** How many of many independent, rare things happen where `mean` do on average. */
export function poisson(mean: number, random: Random): number {
  if (mean >= normalFrom) return Math.max(0, Math.round(mean + Math.sqrt(mean) * gaussian(random)));
  let count = 0;
  for (let left = random(); left > Math.exp(-mean); left *= random()) count += 1;
  return count;
}
