import { Epoch, Seq } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { type Metrics, MetricValue } from '@fleetwire/contracts/metrics';
import Type, { type TProperties } from 'typebox';

/** The schemas of answers. Table types are never sent. */
export const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC, to the millisecond' });

export const Count = Type.Integer({ minimum: 0 });

export const orNull = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

const DeviceName = Type.String({ description: 'Device id' });
const StoredMetrics = Type.Unsafe<Metrics>(
  Type.Record(Type.String(), MetricValue, {
    description: 'Metric name to value, as the device sent it',
    title: 'Metrics',
  }),
);

const ahead = Type.Optional(
  Type.Literal(true, {
    description: `ts is more than ${limits.latestAheadMaxMs / 60_000} minutes after receivedAt: the clock of the device is wrong, and the reading does not become its latest state`,
  }),
);

export const LatestState = Type.Object(
  {
    deviceId: DeviceName,
    ts: Type.String({ format: 'date-time', description: 'Newest device time of all metrics' }),
    receivedAt: Type.String({ format: 'date-time', description: 'When the newest reading was received' }),
    ahead,
    metrics: StoredMetrics,
    metricTimes: Type.Record(Type.String(), Time, {
      description: 'Device time of each metric; metrics may come from different readings',
    }),
  },
  { title: 'LatestState' },
);

export const Reading = Type.Object(
  {
    ts: Type.String({ format: 'date-time', description: 'Device time' }),
    epoch: Epoch,
    seq: Seq,
    receivedAt: Type.String({ format: 'date-time', description: 'When ingest-ws received it' }),
    ahead,
    metrics: StoredMetrics,
  },
  { title: 'Reading' },
);

const next = Type.Union([Type.String(), Type.Null()], {
  description: '`cursor` of the next page; null on the last page',
});
const covered = {
  count: Type.Integer({ minimum: 0, description: 'Elements on this page' }),
  complete: Type.Boolean({ description: 'This page is the last' }),
};

/** A page of `item`s; `covers` describes it, `extra` are members beside `data`. */
export function PageOf<T extends Type.TSchema, C extends TProperties, E extends TProperties>(
  item: T,
  covers: C,
  extra: E,
) {
  return Type.Object({
    ...extra,
    data: Type.Array(item),
    covers: Type.Object({ ...covers, ...covered }),
    page: Type.Object({ next }),
  });
}

/** Members of answers that are served from memory while the database is unavailable. */
export const freshness = {
  asOf: Type.String({ format: 'date-time', description: 'When this was read from the database' }),
  stale: Type.Boolean({ description: 'The database is unavailable: this is its last good answer' }),
};

/** Of `covers` in the answer to a question. */
export const replicaLag = {
  replicaLagMs: Type.Optional(
    Type.Integer({
      description: 'Read from a replica that was at most so many milliseconds behind the database (DATABASE_READ_URL)',
    }),
  ),
};

/** Members of the answer to a question. */
export const questionFreshness = {
  stale: Type.Optional(Type.Boolean({ description: 'The database is unavailable: this is its last good answer' })),
  asOf: Type.Optional(
    Type.String({ format: 'date-time', description: 'With `stale`: when it was read from the database' }),
  ),
};

/**
 * Makes a page of `rows`, which were read with `limit + 1` and `bytesMax`. A surplus row shows that another page follows: the page ends
 * before the row with which it would exceed a bound, but has at least one row.
 */
export function toPage<T>(
  rows: readonly T[],
  { limit, bytesMax = Number.MAX_SAFE_INTEGER }: { readonly limit: number; readonly bytesMax?: number },
  cursorAfter: (last: T) => string,
) {
  let bytes = 0;
  const end = rows.findIndex((row, index) => {
    bytes += (row as { readonly bytes?: number }).bytes ?? 0;
    return index >= limit || (index > 0 && bytes > bytesMax);
  });
  const kept = end === -1 ? rows : rows.slice(0, end);
  const last = kept.at(-1);
  const next = end === -1 || last === undefined ? null : cursorAfter(last);
  return { rows: kept, covered: { count: kept.length, complete: next === null }, page: { next } };
}
