import { type RawBuilder, sql, type SqlBool } from 'kysely';
import { timestamptzArray } from '../binary-arrays.ts';
import { hourMs, type Rolled } from './rolled-values.ts';
import type { PositionsOfMetrics } from './series-catalog.ts';
import { readingsBeforeMax, type SeriesQuery, type ValueFilter } from './series-query.ts';

export interface StoredRange {
  readonly positions: PositionsOfMetrics;
  /** Periods outside of which the devices have no readings: half-open, epoch milliseconds, in order. */
  readonly periods: readonly TimeSpan[];
  /** No reading of the devices is older. */
  readonly oldest: number;
  /** What is read from rollups instead; undefined: nothing is. */
  readonly rolled?: Rolled | undefined;
  /** So many readings that parallel workers are worth their start. Without them, each value is looked up once (`offset 0`). */
  readonly isParallel?: boolean;
}

/** Half-open, epoch milliseconds. */
export interface TimeSpan {
  readonly from: number;
  readonly to: number;
}

/** `ts` as epoch milliseconds, exactly. */
const milliseconds = sql`round(date_part('epoch', r.ts) * 1000)`;

/**
 * One row for each value in the range: `x` is the number, or `v` what is not a number, and `b` its bucket, counted from 1. `no` is the metric.
 */
export function foundValues(query: SeriesQuery, stored: StoredRange): RawBuilder<unknown> {
  const { metrics, buckets, where } = query;
  const starts = sql`${timestamptzArray(buckets.map((bucket) => bucket.from))}::timestamptz[]`;
  return sql`
    select r.device_key, r.ts, r.ms, r.stream_key, r.seq, k.no, m.x, m.v,
      ${buckets.length === 1 ? sql`1` : sql`width_bucket(r.ts, ${starts})`} as b
    from (
      select r.device_key, r.ts, r.ms, r.stream_key, r.seq, ${sql.join(
        metrics.map(
          (name, no) =>
            sql`${numberAt(name, stored)} as ${sql.ref(`n${no}`)}, r.others -> ${name}::text as ${sql.ref(`o${no}`)}`,
        ),
      )}
      from (${readingsOf(query, stored)}) as r where ${passes(where, stored)} ${stored.isParallel === true ? sql`` : sql`offset 0`}
    ) as r
    cross join lateral (values ${sql.join(
      [...metrics.keys()].map((no) => sql`(${sql.lit(no)}::int4, r.${sql.ref(`n${no}`)}, r.${sql.ref(`o${no}`)})`),
    )}) as k (no, n, o)
    ${splitByType}
    where k.n is not null or k.o is not null`;
}

/**
 * For each device and metric the last value before the range: of numbers, or of any type.
 */
export function valuesBefore(
  { deviceKeys, metrics, buckets, where }: SeriesQuery,
  stored: StoredRange,
  type: 'number' | 'any',
): RawBuilder<unknown> {
  const from = buckets[0]!.from;
  const isWanted = type === 'number' ? sql`m.x is not null` : sql`(m.x is not null or m.v is not null)`;
  const ofMetric = (name: string, no: number) => sql`
    select d.device_key, ${no}::int4 as no, q.*
    from unnest(${deviceKeys}::int4[]) as d (device_key) cross join lateral (
      select r.ts, ${milliseconds} as ms, r.stream_key, r.seq, m.x, m.v
      from (
        select * from readings r
        where r.device_key = d.device_key and r.ts >= ${at(Math.min(stored.oldest, from))} and r.ts < ${at(from)}
        order by r.ts desc limit ${readingsBeforeMax}
      ) as r
      cross join lateral (values (${numberAt(name, stored)}, r.others -> ${name}::text)) as k (n, o)
      ${splitByType}
      where ${isWanted} and ${passes(where, stored)}
      order by r.ts desc, r.stream_key desc, r.seq desc limit 1
    ) as q`;
  return sql.join(metrics.map(ofMetric), sql` union all `);
}

/** Of `k.n`, a number of a shape, and `k.o`, another value: the number, and what is none. */
const splitByType = sql`
  cross join lateral (select
    coalesce(k.n, case when jsonb_typeof(k.o) = 'number' then k.o::float8 end) as x,
    case when k.n is null and jsonb_typeof(k.o) <> 'number' then k.o end as v) as m`;

function numberAt(name: string, { positions }: StoredRange): RawBuilder<unknown> {
  return sql`r.numbers[(${positions.get(name) ?? []}::int2[])[r.shape_key]]`;
}

const operators = { '<': sql`<`, '<=': sql`<=`, '>': sql`>`, '>=': sql`>=`, '=': sql`=`, '!=': sql`<>` };

function passes(where: readonly ValueFilter[], stored: StoredRange): RawBuilder<SqlBool> {
  const conditions = where.map(({ metric, operator, value }) => {
    const other = sql`r.others -> ${metric}::text`;
    const number = sql`coalesce(${numberAt(metric, stored)}, case when jsonb_typeof(${other}) = 'number' then (${other})::float8 end)`;
    return sql<SqlBool>`${number} ${operators[operator]} ${value}::float8`;
  });
  return sql.join([sql<SqlBool>`true`, ...conditions], sql` and `);
}

/** More of them cost more to plan than they leave out. */
const separateSpansMax = 32;

/** The readings that rollups do not answer. Postgres plans for each partition that it cannot leave out. */
function readingsOf(query: SeriesQuery, stored: StoredRange): RawBuilder<unknown> {
  const { deviceKeys, buckets } = query;
  const { rolled } = stored;
  const range = { from: buckets[0]!.from, to: buckets.at(-1)!.to };
  const columns = sql`select r.*, ${milliseconds} as ms from readings r`;
  const spans = spansOfReadings(query, stored);
  const hull = { from: spans[0]?.from ?? range.to, to: spans.at(-1)?.to ?? range.to };
  const within = ({ from, to }: TimeSpan) => sql<SqlBool>`r.ts >= ${at(from)} and r.ts < ${at(to)}`;
  const ofDevices = sql<SqlBool>`r.device_key = ${anyOf(deviceKeys)}`;
  const inSpans =
    spans.length < 2 || (rolled === undefined && spans.length > separateSpansMax)
      ? sql`${columns} where ${ofDevices} and ${within(hull)}`
      : spans.length <= separateSpansMax
        ? sql`${columns} where ${ofDevices} and ${within(hull)} and (${sql.join(
            spans.map((span) => sql`(${within(span)})`),
            sql` or `,
          )})`
        : sql`
          select r.* from unnest(${spans.map(({ from }) => iso(from))}::timestamptz[], ${spans.map(({ to }) => iso(to))}::timestamptz[]) as s (start, "end")
          cross join lateral (${columns} where ${ofDevices} and ${within(hull)} and r.ts >= s.start and r.ts < s."end") as r`;
  const tiles = rolled?.rawTiles;
  if (tiles === undefined || tiles.hours.length === 0) return inSpans;
  const all = { from: Math.min(...tiles.hours) * hourMs, to: (Math.max(...tiles.hours) + 1) * hourMs };
  return sql`${inSpans} union all
    select r.* from unnest(${tiles.deviceKeys}::int4[], ${tiles.hours}::int4[]) as t (device_key, hour)
    cross join lateral (${columns} where r.device_key = t.device_key and ${within(all)}
      and r.ts >= to_timestamp(t.hour * 3600.0) and r.ts < to_timestamp((t.hour + 1) * 3600.0)) as r`;
}

/** The times in which readings are read, beside those of single tiles. */
function spansOfReadings({ buckets }: SeriesQuery, { periods, rolled }: StoredRange): TimeSpan[] {
  return withoutRolled({ from: buckets[0]!.from, to: buckets.at(-1)!.to }, rolled)
    .flatMap((span) => periods.map((period) => overlap(span, period)))
    .filter(({ from, to }) => from < to);
}

/** Whether rollups answer everything. */
export function isAllRolled(query: SeriesQuery, stored: StoredRange): boolean {
  return stored.rolled?.rawTiles.hours.length === 0 && spansOfReadings(query, stored).length === 0;
}

/** The parts of the range that rollups do not cover, in order. */
export function withoutRolled(range: TimeSpan, rolled: Rolled | undefined): TimeSpan[] {
  if (rolled === undefined) return [range];
  const { fromHour, toHour, cutHours } = rolled;
  const hours = cutHours.map((hour) => ({ from: hour * hourMs, to: (hour + 1) * hourMs }));
  return joinedSpans([{ from: range.from, to: fromHour * hourMs }, ...hours, { from: toHour * hourMs, to: range.to }]);
}

/** Neighbours as one. */
export function joinedSpans(spans: readonly TimeSpan[]): TimeSpan[] {
  const joined: { from: number; to: number }[] = [];
  for (const { from, to } of spans) {
    const last = joined.at(-1);
    if (from >= to) continue;
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else joined.push({ from, to });
  }
  return joined;
}

function overlap(a: TimeSpan, b: TimeSpan): TimeSpan {
  return { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
}

function anyOf(deviceKeys: readonly number[]): RawBuilder<unknown> {
  return deviceKeys.length === 1 ? sql`${deviceKeys[0]}::int4` : sql`any(${deviceKeys}::int4[])`;
}

/** Epoch milliseconds as a timestamp, exactly. */
function at(epochMs: number): RawBuilder<unknown> {
  return sql`${iso(epochMs)}::timestamptz`;
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
