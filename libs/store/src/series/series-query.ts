/** Aggregates of one bucket: docs/analysts.md defines each. Percentiles are given by their fraction. */
export const aggregates = [
  'count',
  'sum',
  'avg',
  'min',
  'max',
  'first',
  'last',
  'stddev',
  'delta',
  'increase',
  'rate',
  'twavg',
  'm4',
  'distinct',
  'state',
] as const;
export type Aggregate = (typeof aggregates)[number];

/** Half-open, epoch milliseconds; what lies outside the range of the question is cut off. */
export interface BucketBounds {
  readonly from: number;
  readonly to: number;
  /** A value since this time still holds at `from`. */
  readonly heldSince: number;
}

/** Keeps the readings whose metric is a number that compares so. */
export interface ValueFilter {
  readonly metric: string;
  readonly operator: '<' | '<=' | '>' | '>=' | '=' | '!=';
  readonly value: number;
}

export interface SeriesQuery {
  readonly deviceKeys: readonly number[];
  readonly metrics: readonly string[];
  readonly aggregates: ReadonlySet<Aggregate>;
  /** Fractions from 0 to 1. */
  readonly percentiles: readonly number[];
  /** In order and without gaps; the first begins and the last ends with the range. */
  readonly buckets: readonly BucketBounds[];
  readonly where: readonly ValueFilter[];
  /** Groups of devices, by number; a device may be in several. Undefined: each device is a group, and its key the number. */
  readonly groups?: { readonly deviceKeys: readonly number[]; readonly numbers: readonly number[] } | undefined;
}

/** The values of one series in one bucket that has any. Null: not defined for these values. */
export interface SeriesRow {
  readonly group: number;
  /** Position in `metrics`, and in `buckets`. */
  readonly metric: number;
  readonly bucket: number;
  /** Values, and those of them that are numbers. */
  readonly count: number;
  readonly numbers: number;
  readonly sum?: number | null | undefined;
  readonly min?: number | null | undefined;
  readonly max?: number | null | undefined;
  readonly stddev?: number | null | undefined;
  readonly percentiles?: readonly number[] | null;
  /** Null where the value is not a number; it is in `firstOther` then. */
  readonly first?: number | null;
  readonly firstOther?: unknown;
  readonly last?: number | null;
  readonly lastOther?: unknown;
  /** Numbers, each with its time. */
  readonly m4First?: TimedValue | null | undefined;
  readonly m4Min?: TimedValue | null | undefined;
  readonly m4Max?: TimedValue | null | undefined;
  readonly m4Last?: TimedValue | null | undefined;
  readonly distinct?: number | undefined;
  readonly delta?: number | null | undefined;
  readonly increase?: number | null | undefined;
  readonly rate?: number | null | undefined;
  readonly twavg?: number | null | undefined;
  readonly coveredMs?: number | null | undefined;
  /** Most of the time first. */
  readonly states?: readonly { readonly value: unknown; readonly ms: number }[];
  readonly otherStatesMs?: number | null;
}

/** Where the rows of an answer come from. A tile is one device and one hour of UTC. */
export interface SeriesSource {
  /** `1m`, `1h`: rollups only; `mixed`: rollups and stored readings. */
  readonly source: 'raw' | '1m' | '1h' | 'mixed';
  /** Tiles of the range, also those without a reading; those that the range or a bucket cuts are read from stored readings. */
  readonly tilesRolledUp: number;
  readonly tilesRaw: number;
  /** The finest data that exists for the whole range. */
  readonly resolution: 'raw' | '1m' | '1h';
  /** Times of which the stored readings that the question needs were removed; half-open, epoch milliseconds. */
  readonly missing: readonly { readonly from: number; readonly to: number }[];
}

export interface SeriesResult extends SeriesSource {
  readonly rows: readonly SeriesRow[];
}

/** `[value, epoch milliseconds]` */
export type TimedValue = readonly [number, number];

/** States that a bucket lists; the time in all others is added up. */
export const statesListedMax = 20;

/** Among so many readings of a device before the range, the last value before it is looked for. */
export const readingsBeforeMax = 1_000;
