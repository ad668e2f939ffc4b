import type { components } from '@fleetwire/client/openapi';

export type Histogram = components['schemas']['DeadLetterHistogram'];

export interface Bar {
  readonly at: number;
  /** Of the selected group, and of all others. */
  readonly own: number;
  readonly others: number;
}

/** One bar for each interval of the range, with those in which nothing failed. */
export function barsOf({ from, to, intervalSeconds, data }: Histogram, selected: string | undefined): Bar[] {
  const step = intervalSeconds * 1_000;
  const first = Math.floor(Date.parse(from) / step) * step;
  const bars = new Map<number, { own: number; others: number }>();
  for (let at = first; at < Date.parse(to); at += step) bars.set(at, { own: 0, others: 0 });
  for (const { fingerprint, counts } of data)
    for (const { at, count } of counts) {
      const bar = bars.get(Math.floor(Date.parse(at) / step) * step);
      if (bar !== undefined) bar[fingerprint === selected ? 'own' : 'others'] += count;
    }
  return [...bars].map(([at, bar]) => ({ at, ...bar }));
}

/** Round marks of an axis from 0 on: at most four above it. */
export function ticksUpTo(most: number): number[] {
  const rough = Math.max(1, most) / 3;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((factor) => factor * size).find((one) => one >= rough)!,
  );
  return Array.from({ length: Math.ceil(Math.max(1, most) / step) + 1 }, (_, index) => index * step);
}
