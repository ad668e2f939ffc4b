import type { BucketBounds } from '@fleetwire/store/series/series-query';
import { isoTime, type TimeRange } from '../time-range.ts';
import { bucketEdges, type Interval, lengthMs, shiftedBack } from './intervals.ts';
import type { Question } from './question.ts';

/** A bucket of the answer, or one before it of which a value may be repeated (`fill=locf`). */
export interface Bucket extends BucketBounds {
  /** Where it begins by the interval; `from` is later where the range begins within it. */
  readonly start: number;
  readonly end: number;
  /** Its number in the answer; the part of the first bucket that lies before the range has 0 as well, and earlier ones are negative. */
  readonly number: number;
  readonly isBefore: boolean;
}

const dayMs = 86_400_000;
/** Buckets over which `fill=locf` repeats a value, where the question says nothing else. */
export const filledBucketsMax = 10;

/** In order and without gaps. */
export function bucketsOf(question: Question): Bucket[] {
  const { range, interval, timeZone, chosenMax } = question;
  if (chosenMax !== undefined) return binsOf(range, 2 * chosenMax);
  if (interval === undefined) return [bucket(range.from, range.to, 0, range)];
  const edges = bucketEdges(range, interval, timeZone);
  const inRange = edges.slice(1).map((end, index) => bucket(edges[index]!, end, index, range));
  return question.fill === 'locf' ? [...bucketsBefore(question, edges[0]!, edges[1]!), ...inRange] : inRange;
}

/** Bins of equal length, at most `binsMax`, and of whole hours or minutes where they are longer: so rollups have their values. */
function binsOf(range: TimeRange, binsMax: number): Bucket[] {
  const length = Math.max(1, Math.ceil((range.to - range.from) / Math.max(1, binsMax - 1)));
  const unit = [dayMs / 24, 60_000].find((ms) => length >= ms) ?? 1;
  const ms = Math.ceil(length / unit) * unit;
  const first = Math.floor(range.from / unit) * unit;
  const count = Math.ceil((range.to - first) / ms);
  return Array.from({ length: count }, (_, index) =>
    bucket(first + index * ms, first + (index + 1) * ms, index, range),
  );
}

/** About how many buckets the answer has, without making them. */
export function bucketCountOf({ range, interval, chosenMax }: Question): number {
  if (chosenMax !== undefined) return 2 * chosenMax;
  return interval === undefined ? 1 : Math.ceil((range.to - range.from) / lengthMs(interval));
}

/** How long before the range values are read, about. */
export function msBefore({ interval, fill, fillMaxMs }: Question): number {
  if (interval === undefined || fill !== 'locf') return 0;
  if (fillMaxMs !== undefined) return fillMaxMs;
  const ms = filledBucketsMax * lengthMs(interval);
  // Calendar units are up to a ninth longer than the shortest of them, and two hours.
  return lengthMs(interval) <= dayMs / 24 ? ms : ms * 1.12 + dayMs / 12;
}

function bucketsBefore(question: Question, first: number, firstEnd: number): Bucket[] {
  const { range, interval, timeZone, fillMaxMs } = question;
  const from = Math.max(0, Math.floor(first - msBefore(question)));
  const edges = from < first ? bucketEdges({ from, to: first }, interval!, timeZone) : [];
  const whole = edges
    .slice(1)
    .map((end, index) => ({
      ...bucket(edges[index]!, end, index - edges.length + 1, { from: 0, to: end }),
      isBefore: true,
    }))
    .filter((one) => fillMaxMs !== undefined || one.number >= -filledBucketsMax);
  if (first === range.from) return whole;
  return [...whole, { ...bucket(first, firstEnd, 0, { from: first, to: range.from }), isBefore: true }];
}

function bucket(start: number, end: number, number: number, range: { from: number; to: number }): Bucket {
  const from = Math.max(start, range.from);
  const heldSince = from - Math.min(end - start, dayMs);
  return { start, end, number, isBefore: false, from, to: Math.min(end, range.to), heldSince };
}

/** The buckets one offset earlier. A local time that comes twice, or not at all, may make one of them empty. */
export function bucketsEarlier(buckets: readonly Bucket[], offset: Interval, timeZone: string): Bucket[] {
  let latest = 0;
  const earlier = (time: number) => (latest = Math.max(latest, shiftedBack(time, offset, timeZone)));
  const last = buckets.at(-1)!;
  const times = [...buckets.map(({ from }) => from), last.to].map(earlier);
  return buckets.map((bucket, index) => {
    const [from, to] = [times[index]!, times[index + 1]!];
    const start = shiftedBack(bucket.start, offset, timeZone);
    return { ...bucket, start, from, to, heldSince: from - (bucket.from - bucket.heldSince) };
  });
}

interface Partial {
  readonly from: string;
  readonly to: string;
  readonly why: 'bucket-cut' | 'running' | 'incomplete' | 'raw-expired';
}

interface Coverage {
  readonly now: number;
  readonly completeUntil: number | null;
  /** Times of which the stored readings that this question needs were removed. */
  readonly missing: readonly TimeRange[];
}

/** Where the answer may say less than it seems to. */
export function partialOf(
  { range }: Question,
  buckets: readonly Bucket[],
  { now, completeUntil, missing }: Coverage,
): Partial[] {
  const partial = (from: number, to: number, why: Partial['why']): Partial => ({
    from: isoTime(from),
    to: isoTime(to),
    why,
  });
  const inRange = buckets.filter(({ isBefore }) => !isBefore);
  const [first, last] = [inRange[0]!, inRange.at(-1)!];
  const found: Partial[] = [];
  if (first.start < range.from) found.push(partial(first.start, first.end, 'bucket-cut'));
  if (last.end > range.to && range.to < now && (last !== first || first.start === range.from))
    found.push(partial(last.start, last.end, 'bucket-cut'));
  const running = inRange.find(({ start, end }) => start <= now && now < end);
  if (running !== undefined) found.push(partial(running.start, running.end, 'running'));
  if (completeUntil !== null && completeUntil < range.to)
    found.push(partial(Math.max(range.from, completeUntil), range.to, 'incomplete'));
  return [...missing.map(({ from, to }) => partial(from, to, 'raw-expired')), ...found];
}
