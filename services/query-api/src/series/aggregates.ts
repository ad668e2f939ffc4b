import { type Aggregate, aggregates, type SeriesRow } from '@fleetwire/store/series/series-query';

/** An aggregate as a question names it: of the fixed ones, or a percentile. */
export interface AskedAggregate {
  readonly name: string;
  readonly kind: Aggregate | 'percentile';
  /** Of a percentile: from 0 to 1. */
  readonly fraction: number;
}

export const aggregateForms = `${aggregates.join(', ')}, or a percentile like p50, p95 or p99.9`;

/** An answer would be beyond the range of a double. */
export class NumberTooLargeError extends Error {
  override readonly name = 'NumberTooLargeError';
}

/** More different values than this are not counted. */
export const distinctMax = 1_000;

const ofAnyType = new Set<string>(['count', 'first', 'last', 'distinct', 'state']);
const neverFilledByLine = new Set<string>(['count', 'm4', 'distinct', 'state']);

/** @returns undefined for another name */
export function parseAggregate(name: string): AskedAggregate | undefined {
  const kind = aggregates.find((one) => one === name);
  if (kind !== undefined) return { name, kind, fraction: 0 };
  if (!/^p\d{1,2}(\.\d)?$/.test(name)) return undefined;
  return { name, kind: 'percentile', fraction: Number(`${name.slice(1)}e-2`) };
}

/** Whether it ignores values that are not numbers. */
export function isNumeric({ kind }: AskedAggregate): boolean {
  return !ofAnyType.has(kind);
}

export function mayBeLine({ kind }: AskedAggregate): boolean {
  return !neverFilledByLine.has(kind);
}

/** Numbers that it answers for each bucket, about. */
export function numbersOf({ kind }: AskedAggregate): number {
  if (kind === 'm4') return 8;
  if (kind === 'state') return 10;
  return kind === 'twavg' ? 2 : 1;
}

/** A member of a series, and its value in one bucket. */
export interface Column {
  readonly name: string;
  readonly aggregate: AskedAggregate;
  /** Epoch milliseconds, which are answered as milliseconds after the start of the bucket. */
  readonly isTime: boolean;
  readonly valueIn: (row: SeriesRow) => unknown;
  readonly empty: unknown;
}

/** The columns of an aggregate. @param place its place among the percentiles that were read */
export function columnsOf(aggregate: AskedAggregate, place: number): Column[] {
  const { name, kind } = aggregate;
  const column = (valueIn: Column['valueIn'], of: Partial<Column> = {}): Column => ({
    name,
    aggregate,
    isTime: false,
    empty: null,
    valueIn,
    ...of,
  });
  switch (kind) {
    case 'count':
      return [column((row) => row.count, { empty: 0 })];
    case 'avg':
      return [column(({ sum, numbers }) => (sum === null || sum === undefined ? null : sum / numbers))];
    case 'percentile':
      return [column((row) => finite(row.percentiles?.[place] ?? null))];
    case 'first':
    case 'last':
      return [column((row) => row[kind] ?? row[`${kind}Other`] ?? null)];
    case 'distinct':
      return [column((row) => Math.min(row.distinct ?? 0, distinctMax))];
    case 'state':
      return [column(statesOf)];
    case 'twavg':
      return [column((row) => row.twavg ?? null), column((row) => row.coveredMs ?? 0, { name: 'coveredMs', empty: 0 })];
    case 'm4':
      return (['First', 'Min', 'Max', 'Last'] as const).flatMap((part) => [
        column((row) => row[`m4${part}`]?.[0] ?? null, { name: part.toLowerCase() }),
        column((row) => row[`m4${part}`]?.[1] ?? null, { name: `${part.toLowerCase()}At`, isTime: true }),
      ]);
    default:
      return [column((row) => row[kind] ?? null)];
  }
}

function statesOf({ states, otherStatesMs }: SeriesRow): unknown {
  const listed = states ?? [];
  return otherStatesMs ? [...listed, { other: true, ms: otherStatesMs }] : listed;
}

function finite(value: number | null): number | null {
  if (value !== null && !Number.isFinite(value))
    throw new NumberTooLargeError('a percentile lies between numbers too far apart');
  return value;
}
