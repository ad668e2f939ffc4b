import { badRequest } from '@fleetwire/runtime/problem';
import type { SeriesRow } from '@fleetwire/store/series/series-query';
import { isoTime } from '../time-range.ts';
import { type Column, columnsOf, distinctMax, isNumeric } from './aggregates.ts';
import type { Bucket } from './buckets.ts';
import { chosenValues } from './chosen-values.ts';
import { fillEmpty, type IndexRange } from './fill.ts';
import type { Group } from './groups.ts';
import type { Question } from './question.ts';

/** A series of the answer: one value of each column for each bucket, and which of them were filled. */
interface Series {
  readonly name: object;
  readonly columns: readonly { readonly column: Column; readonly values: readonly unknown[] }[];
  readonly isEmpty: readonly boolean[];
  readonly filled: readonly IndexRange[];
  /** Buckets with more different values than are counted. */
  readonly capped: readonly number[];
  /** The same series one offset earlier. */
  readonly before: Series | undefined;
}

interface EarlierRows {
  readonly rows: readonly SeriesRow[];
  readonly buckets: readonly Bucket[];
}

export interface Found {
  readonly question: Question;
  readonly buckets: readonly Bucket[];
  readonly groups: readonly Group[];
  readonly rows: readonly SeriesRow[];
  /** Of a question with an offset: the same buckets, one offset earlier. */
  readonly before?: EarlierRows | undefined;
  /** Series without a value are listed of these metrics, by name. */
  readonly listedEmpty: ReadonlySet<string>;
  /** Where the question stands: `query` or `body`. */
  readonly place: string;
}

/** `{ t, series }` or `{ rows }`, as the question wants it. */
export function layOut(found: Found): object {
  const { question } = found;
  if (question.chosenMax !== undefined) return chosenValues(found, question.chosenMax);
  const inRange = found.buckets.filter(({ isBefore }) => !isBefore);
  const all = seriesOf(found);
  return question.layout === 'rows' ? { rows: rowsOf(all, inRange, question) } : columnsLayout(all, inRange, question);
}

/** Values that numeric aggregates left out, by metric. */
export function notNumericOf(question: Question, rows: readonly SeriesRow[]): Record<string, number> {
  const left = new Map<string, number>();
  if (!question.aggregates.some(isNumeric)) return {};
  for (const { metric, count, numbers } of rows) {
    const name = question.metrics[metric]!;
    if (count > numbers) left.set(name, (left.get(name) ?? 0) + count - numbers);
  }
  return Object.fromEntries(left);
}

function seriesOf({ question, buckets, groups, rows, before, listedEmpty, place }: Found): Series[] {
  const keyOf = (group: number, metric: number) => group * question.metrics.length + metric;
  const bySeries = (all: readonly SeriesRow[]) => Map.groupBy(all, ({ group, metric }) => keyOf(group, metric));
  const rowsNow = bySeries(rows);
  const rowsBefore = bySeries(before?.rows ?? []);
  let percentile = -1;
  const columns = question.aggregates.flatMap((one) =>
    columnsOf(one, one.kind === 'percentile' ? (percentile += 1) : -1),
  );
  return groups.flatMap((group) =>
    question.metrics.flatMap((metric, index) => {
      const key = keyOf(group.number, index);
      if (!rowsNow.has(key) && !rowsBefore.has(key) && !listedEmpty.has(metric)) return [];
      const of = { question, columns, name: { ...group.name, metric }, place };
      const now = seriesFrom(rowsNow.get(key) ?? [], { ...of, buckets });
      if (before === undefined) return [now];
      return [{ ...now, before: seriesFrom(rowsBefore.get(key) ?? [], { ...of, buckets: before.buckets }) }];
    }),
  );
}

function seriesFrom(
  rows: readonly SeriesRow[],
  of: Pick<Found, 'question' | 'buckets' | 'place'> & { readonly columns: readonly Column[]; readonly name: object },
): Series {
  const { question, buckets, columns, name, place } = of;
  const before = buckets.findIndex(({ isBefore }) => !isBefore);
  const isEmpty = buckets.map(() => true);
  for (const { bucket } of rows) isEmpty[bucket] = false;
  const filling = columns.map((column) => {
    const values = buckets.map(() => column.empty);
    for (const row of rows) values[row.bucket] = column.valueIn(row);
    return { column, values, isNeverFilled: column.empty !== null };
  });
  const text =
    question.fill === 'linear'
      ? filling.find(({ values }) => values.some((value) => value !== null && typeof value !== 'number'))
      : undefined;
  if (text !== undefined) {
    const detail = `is linear, but ${text.column.name} of ${JSON.stringify((name as { metric: string }).metric)} has values that are not numbers; use locf`;
    throw badRequest('The question is not valid', [{ field: `${place}.fill`, detail }]);
  }
  const filled = fillEmpty(question, buckets, isEmpty, filling);
  return {
    name,
    columns: filling.map(({ column, values }) => ({
      column,
      values: relativeTimes(column, values, buckets).slice(before),
    })),
    isEmpty: isEmpty.slice(before),
    filled,
    capped: rows
      .filter(({ bucket, distinct }) => distinct !== undefined && distinct > distinctMax && bucket >= before)
      .map(({ bucket }) => bucket - before),
    before: undefined,
  };
}

/** Times of values count from the start of the bucket; in one that was filled they may be negative. */
function relativeTimes({ isTime }: Column, values: readonly unknown[], buckets: readonly Bucket[]): readonly unknown[] {
  if (!isTime) return values;
  return values.map((value, index) => (value === null ? null : (value as number) - buckets[index]!.start));
}

function columnsLayout(all: readonly Series[], buckets: readonly Bucket[], { fill }: Question): object {
  const isKept = (index: number) =>
    fill !== 'none' || all.some(({ isEmpty, before }) => !isEmpty[index] || before?.isEmpty[index] === false);
  const kept = <T>(values: readonly T[]): readonly T[] =>
    fill === 'none' ? values.filter((_, index) => isKept(index)) : values;
  const placesOf = (indices: readonly number[]) => {
    const places = new Map(kept([...buckets.keys()]).map((index, place) => [index, place]));
    return indices.map((index) => places.get(index));
  };
  const valuesOf = ({ columns, filled, capped }: Series) => ({
    ...Object.fromEntries(columns.map(({ column, values }) => [column.name, kept(values)])),
    ...(filled.length > 0 && { filled }),
    ...(capped.length > 0 && { capped: placesOf(capped) }),
  });
  return {
    t: kept(buckets.map(({ start }) => start)),
    series: all.map((one) => ({
      ...one.name,
      ...valuesOf(one),
      ...(one.before && { before: valuesOf(one.before) }),
    })),
  };
}

function rowsOf(all: readonly Series[], buckets: readonly Bucket[], { fill }: Question): object[] {
  return all.flatMap((one) =>
    buckets.flatMap(({ start }, index) => {
      const isEmpty = one.isEmpty[index] && one.before?.isEmpty[index] !== false;
      if (fill === 'none' && isEmpty) return [];
      return [
        {
          t: isoTime(start),
          ...one.name,
          ...cellsOf(one, index),
          ...(one.before && { before: cellsOf(one.before, index) }),
        },
      ];
    }),
  );
}

function cellsOf({ columns, filled, capped }: Series, index: number): object {
  const isFilled = filled.some(([from, to]) => from <= index && index < to);
  return {
    ...Object.fromEntries(columns.map(({ column, values }) => [column.name, values[index]])),
    ...(isFilled && { filled: true }),
    ...(capped.includes(index) && { capped: true }),
  };
}
