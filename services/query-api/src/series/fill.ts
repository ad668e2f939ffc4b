import { type Bucket, filledBucketsMax } from './buckets.ts';
import type { Question } from './question.ts';

/** The values of one column of a series, one for each bucket. */
export interface FillableColumn {
  readonly values: unknown[];
  /** A count, or a part of the time: what is empty is known to be 0. */
  readonly isNeverFilled: boolean;
}

/** Half-open. */
export type IndexRange = readonly [number, number];

/**
 * Fills the empty buckets of a series in place: with the last value before, or on the line between the values beside them.
 * @returns the numbers of the buckets in which something was filled
 */
export function fillEmpty(
  { fill, fillMaxMs }: Pick<Question, 'fill' | 'fillMaxMs'>,
  buckets: readonly Bucket[],
  isEmpty: readonly boolean[],
  columns: readonly FillableColumn[],
): IndexRange[] {
  if (fill !== 'locf' && fill !== 'linear') return [];
  const filled = new Set<number>();
  for (const { values, isNeverFilled } of columns) {
    if (isNeverFilled) continue;
    const known = fill === 'locf' ? lastBefore(buckets, isEmpty, values, fillMaxMs) : onLine(buckets, isEmpty, values);
    for (const [index, value] of known) {
      values[index] = value;
      filled.add(buckets[index]!.number);
    }
  }
  return rangesOf([...filled].sort((a, b) => a - b));
}

function lastBefore(
  buckets: readonly Bucket[],
  isEmpty: readonly boolean[],
  values: readonly unknown[],
  fillMaxMs: number | undefined,
): Map<number, unknown> {
  const found = new Map<number, unknown>();
  let source: number | undefined;
  for (const [index, { start, number, isBefore }] of buckets.entries()) {
    if (!isEmpty[index] && values[index] !== null) source = index;
    if (source === undefined || isBefore || !isEmpty[index]) continue;
    const from = buckets[source]!;
    const isNear = fillMaxMs === undefined ? number - from.number <= filledBucketsMax : start - from.start <= fillMaxMs;
    if (isNear) found.set(index, values[source]);
  }
  return found;
}

function onLine(
  buckets: readonly Bucket[],
  isEmpty: readonly boolean[],
  values: readonly unknown[],
): Map<number, number> {
  const found = new Map<number, number>();
  const known = [...values.keys()].filter((index) => !isEmpty[index] && values[index] !== null);
  for (const [place, right] of known.entries()) {
    const left = known[place - 1];
    if (left === undefined) continue;
    const [a, b] = [values[left] as number, values[right] as number];
    const [start, end] = [buckets[left]!.start, buckets[right]!.start];
    for (let index = left + 1; index < right; index += 1)
      if (isEmpty[index]) found.set(index, a + (b - a) * ((buckets[index]!.start - start) / (end - start)));
  }
  return found;
}

function rangesOf(numbers: readonly number[]): IndexRange[] {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === number) last[1] = number + 1;
    else ranges.push([number, number + 1]);
  }
  return ranges;
}
