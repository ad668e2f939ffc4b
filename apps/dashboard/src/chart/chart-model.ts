import { csvLine } from '../download.ts';
import { decimalsOf, duration, metricValue, noBreakSpace } from '../format.ts';
import { timeOfDay, timeWithMilliseconds } from '../times.ts';

/** One line of a chart: averages of buckets, with their least and greatest values where there are any. */
export interface ChartSeries {
  readonly id: string;
  readonly label: string;
  readonly unit: string;
  /** Place in the palette, 0 to 7: colour and dash. It stays while the metric is on the page. */
  readonly slot: number;
  readonly values: readonly (number | null)[];
  readonly min?: readonly (number | null)[] | undefined;
  readonly max?: readonly (number | null)[] | undefined;
  /** A comparison with an earlier time: thin and dotted, in the colour of its slot. */
  readonly faint?: boolean;
  /** What stands at its end instead of its label: `stored 1,540`. */
  readonly end?: string;
  /** The area between its line and this one is tinted: that of another series by its id, amber where that is below it; or zero, for a depth. */
  readonly fillTo?: string | 0;
}

export interface Threshold {
  readonly value: number;
  readonly label: string;
  /** Is it crossed upwards or downwards? */
  readonly side: 'above' | 'below';
}

/** A time without readings that is more than an empty bucket. */
export interface Hole {
  readonly from: number;
  readonly to: number;
  /** `188 readings missing` */
  readonly label: string;
}

export interface ChartEvent {
  readonly at: number;
  readonly text: string;
  /** Stands on the chart beside a dotted line at that time. */
  readonly label?: string;
}

/** Start of each bucket in milliseconds, and the series over them. */
export interface ChartData {
  readonly t: readonly number[];
  readonly series: readonly ChartSeries[];
  /** Length of a bucket; undefined where each value is one reading. */
  readonly bucketMs: number | undefined;
}

/** The dashes of the palette, as the design orders them. */
export const dashes: readonly (readonly number[])[] = [
  [],
  [6, 3],
  [2, 3],
  [8, 3, 2, 3],
  [12, 4],
  [1, 4],
  [10, 3, 2, 3, 2, 3],
  [4, 2, 1, 2],
];

export const seriesMax = dashes.length;

/** Position of the bucket that holds a time, or of the nearest one. */
export function nearest(t: readonly number[], at: number): number | undefined {
  if (t.length === 0) return undefined;
  let low = 0;
  let high = t.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (t[middle]! <= at) low = middle;
    else high = middle - 1;
  }
  const next = low + 1;
  return next < t.length && t[next]! - at < at - t[low]! ? next : low;
}

/** Crossings of thresholds, and the events that are given, in the order of time. */
export function eventsOf(
  { t, series }: ChartData,
  thresholds: readonly Threshold[],
  others: readonly ChartEvent[],
): ChartEvent[] {
  const crossings: ChartEvent[] = [];
  for (const { value: limit, label, side } of thresholds) {
    for (const one of series) {
      let was: boolean | undefined;
      for (const [index, value] of one.values.entries()) {
        if (value === null) continue;
        const over = side === 'above' ? value > limit : value < limit;
        if (was !== undefined && over !== was)
          crossings.push({ at: t[index]!, text: `${one.label} ${over ? 'crosses' : 'is back within'} ${label}` });
        was = over;
      }
    }
  }
  return [...crossings, ...others].toSorted((a, b) => a.at - b.at);
}

/** What the cursor says at a bucket: `13:52:40, product −13.6 °C, between −13.9 and −12.5, above the limit`. */
export function spoken(
  { t, series }: ChartData,
  index: number,
  one: ChartSeries | undefined,
  thresholds: readonly Threshold[],
): string {
  const said = one === undefined ? series : [one];
  return [timeOfDay(t[index]!), ...said.flatMap((line) => spokenValue(line, index, thresholds))].join(', ');
}

function spokenValue(line: ChartSeries, index: number, thresholds: readonly Threshold[]): string[] {
  const value = line.values[index] ?? null;
  if (value === null) return [`${line.label} no reading`];
  const decimals = decimalsFor(line);
  const low = line.min?.[index] ?? null;
  const high = line.max?.[index] ?? null;
  const over = thresholds.filter(({ value: limit, side }) => (side === 'above' ? value > limit : value < limit));
  return [
    `${line.label} ${withUnit(value, line.unit, decimals)}`,
    ...(low !== null && high !== null && low !== high
      ? [`between ${metricValue(low, decimals)} and ${metricValue(high, decimals)}`]
      : []),
    ...over.map(({ label, side }) => `${side} ${label}`),
  ];
}

export function withUnit(value: unknown, unit: string, decimals?: number): string {
  const text = metricValue(value, decimals);
  return unit === '' ? text : `${text}${noBreakSpace}${unit}`;
}

/** Where labels stand so that each is at least `step` from the next: as near as possible to the ends of their lines, in their order. */
export function spreadLabels(wanted: readonly number[], step: number, top: number, bottom: number): number[] {
  const order = wanted.map((_, index) => index).toSorted((a, b) => wanted[a]! - wanted[b]! || a - b);
  const placed: number[] = [];
  for (const [place, index] of order.entries())
    placed.push(Math.max(wanted[index]!, place === 0 ? top : placed[place - 1]! + step));
  // What went over the end goes back, and takes those above with it.
  for (let place = placed.length - 1, limit = bottom; place >= 0; place -= 1, limit = placed[place + 1]! - step)
    placed[place] = Math.min(placed[place]!, limit);
  const result: number[] = [];
  for (const [place, index] of order.entries()) result[index] = placed[place]!;
  return result;
}

const known = new WeakMap<readonly (number | null)[], number>();

/** How many decimals the values of a line need. */
export function decimalsFor({ values }: Pick<ChartSeries, 'values'>): number {
  const found = known.get(values);
  if (found !== undefined) return found;
  const some = values.filter((value) => value !== null).slice(-200);
  const spread = some.length === 0 ? 0 : Math.max(...some) - Math.min(...some);
  // Averages have many digits: what is smaller than a hundredth of the spread says nothing.
  const useful = spread === 0 ? 3 : Math.max(0, Math.ceil(-Math.log10(spread / 100)));
  const decimals = Math.min(decimalsOf(some), useful, 3);
  known.set(values, decimals);
  return decimals;
}

/** The buckets as CSV: the table twin, with every digit. */
export function chartCsv({ t, series }: ChartData): string {
  const head = series.flatMap((line) => [
    columnName(line, ''),
    ...(line.min === undefined ? [] : [columnName(line, ' min')]),
    ...(line.max === undefined ? [] : [columnName(line, ' max')]),
  ]);
  const lines = t.map((at, index) =>
    csvLine([
      new Date(at).toISOString(),
      ...series.flatMap((line) => [
        line.values[index],
        ...(line.min === undefined ? [] : [line.min[index]]),
        ...(line.max === undefined ? [] : [line.max[index]]),
      ]),
    ]),
  );
  return csvLine(['time', ...head]) + lines.join('');
}

function columnName({ id, unit }: ChartSeries, suffix: string): string {
  return `${id}${suffix}${unit === '' ? '' : ` (${unit})`}`;
}

/** The time of a bucket as the read-out and the twin show it. */
export function bucketTime(at: number, bucketMs: number | undefined): string {
  return bucketMs !== undefined && bucketMs >= 1_000 ? timeOfDay(at) : timeWithMilliseconds(at);
}

export function bucketLength(bucketMs: number | undefined): string {
  return bucketMs === undefined ? 'reading' : `${duration(bucketMs).replace('.0', '')} bucket`;
}

/** `temperature, 11:32 to 14:32, between −22 and −12 °C`: the label of a chart. */
export function chartLabel(title: string, { t, series }: ChartData): string {
  const first = t[0];
  const last = t.at(-1);
  const range = first === undefined || last === undefined ? 'no readings' : `${timeOfDay(first)} to ${timeOfDay(last)}`;
  const spreads = series.map((line) => {
    const lows = (line.min ?? line.values).filter((value) => value !== null);
    const highs = (line.max ?? line.values).filter((value) => value !== null);
    if (lows.length === 0) return `${line.label} without readings`;
    const decimals = decimalsFor(line);
    const low = lows.reduce((a, b) => Math.min(a, b));
    const high = highs.reduce((a, b) => Math.max(a, b));
    return `${line.label} from ${metricValue(low, decimals)} to ${withUnit(high, line.unit, decimals)}`;
  });
  return [title, range, ...spreads].join(', ');
}
