import type { LiveReading } from '../../live-messages.ts';

/** Averages of buckets with their extremes, as the API answers them. */
export interface Envelope {
  readonly t: readonly number[];
  readonly metrics: Readonly<
    Record<
      string,
      {
        readonly avg: readonly (number | null)[];
        readonly min: readonly (number | null)[];
        readonly max: readonly (number | null)[];
      }
    >
  >;
  readonly bucketMs: number;
}

/** A reading of the live stream with its device time in milliseconds. */
export interface TimedReading extends LiveReading {
  readonly at: number;
}

/**
 * History up to a moment, and the buckets after it from the readings of the live stream. The stream holds every reading from `cutAt` on, once:
 * so there is no seam, and no reading is counted twice.
 * @param cutAt the start of the first bucket that is made of live readings
 * @param until the end of the range: the last bucket is the one that holds it
 */
export function joinLive(history: Envelope, live: readonly TimedReading[], cutAt: number, until: number): Envelope {
  const { bucketMs } = history;
  const kept = history.t.findIndex((at) => at >= cutAt);
  const keep = kept === -1 ? history.t.length : kept;
  const names = Object.keys(history.metrics);
  const sums = new Map<number, Map<string, { sum: number; count: number; min: number; max: number }>>();
  for (const { at, metrics } of live) {
    if (at < cutAt || at >= until) continue;
    const start = bucketOf(at, bucketMs);
    let bucket = sums.get(start);
    if (bucket === undefined) sums.set(start, (bucket = new Map()));
    for (const name of names) {
      const value = metrics[name];
      if (typeof value !== 'number') continue;
      const held = bucket.get(name);
      if (held === undefined) bucket.set(name, { sum: value, count: 1, min: value, max: value });
      else {
        held.sum += value;
        held.count += 1;
        held.min = Math.min(held.min, value);
        held.max = Math.max(held.max, value);
      }
    }
  }
  const starts: number[] = [];
  for (let start = bucketOf(cutAt, bucketMs); start < until; start += bucketMs) starts.push(start);
  const metrics = Object.fromEntries(
    names.map((name) => {
      const { avg, min, max } = history.metrics[name]!;
      const live = starts.map((start) => sums.get(start)?.get(name));
      return [
        name,
        {
          avg: [...avg.slice(0, keep), ...live.map((held) => (held === undefined ? null : held.sum / held.count))],
          min: [...min.slice(0, keep), ...live.map((held) => held?.min ?? null)],
          max: [...max.slice(0, keep), ...live.map((held) => held?.max ?? null)],
        },
      ];
    }),
  );
  return { t: [...history.t.slice(0, keep), ...starts], metrics, bucketMs };
}

/** Up to which time history is taken from the API: the last whole bucket before everything is stored, and not before the stream begins. */
export function cutOf(
  askedAt: number,
  completeUntil: number | undefined,
  streamFrom: number,
  bucketMs: number,
): number {
  const sure = Math.min(askedAt, completeUntil ?? askedAt);
  return Math.max(bucketOf(sure, bucketMs), bucketOf(streamFrom + bucketMs - 1, bucketMs));
}

/** Buckets of whole seconds, minutes and hours are aligned to UTC. */
function bucketOf(at: number, bucketMs: number): number {
  return Math.floor(at / bucketMs) * bucketMs;
}

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `20s` in milliseconds; undefined for months and years, which have no fixed length. */
export function intervalMs(text: string | null): number | undefined {
  const parts = /^(\d+)(ms|s|m|h|d|w)$/.exec(text ?? '');
  return parts === null ? undefined : Number(parts[1]) * units[parts[2]!]!;
}

/** Fewer say too little of a range. */
const bucketsMin = 12;
/** The intervals that the API aligns alike in all zones; others are asked for with the zone. */
const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600] as const;

/**
 * The shortest interval with which the range has at most so many buckets.
 * @param leastMs a device that sends less often would have an empty bucket, which is drawn as a gap, beside each reading
 */
export function chooseInterval(
  rangeMs: number,
  bucketsMax: number,
  leastMs = 0,
): { readonly text: string; readonly ms: number } {
  const seconds = Math.max(rangeMs / bucketsMax, Math.min(leastMs, rangeMs / bucketsMin)) / 1_000;
  const step = steps.find((one) => one >= seconds) ?? Math.ceil(seconds / 3_600) * 3_600;
  const text = step % 3_600 === 0 ? `${step / 3_600}h` : step % 60 === 0 ? `${step / 60}m` : `${step}s`;
  return { text, ms: step * 1_000 };
}

/** Times of at least two buckets between readings in which no metric has a value, the longest first. */
export function emptyRuns({ t, metrics, bucketMs }: Envelope): { readonly from: number; readonly to: number }[] {
  const series = Object.values(metrics).map(({ avg }) => avg);
  const runs: { from: number; to: number }[] = [];
  let start: number | undefined;
  for (const [index, at] of t.entries()) {
    const isEmpty = series.every((values) => values[index] === null);
    if (!isEmpty && start !== undefined) {
      if (at - start >= 2 * bucketMs) runs.push({ from: start, to: at });
      start = undefined;
    }
    // Before the first reading of the range it is not known what a silence is.
    if (
      isEmpty &&
      runs.length + index > 0 &&
      series.some((values) => values.slice(0, index).some((value) => value !== null))
    )
      start ??= at;
  }
  return runs.toSorted((a, b) => b.to - b.from - (a.to - a.from));
}
