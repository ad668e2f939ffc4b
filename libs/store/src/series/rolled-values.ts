import { type RawBuilder, sql } from 'kysely';
import { float8Array, int4Array } from '../binary-arrays.ts';
import type { SeriesQuery } from './series-query.ts';

export const hourMs = 3_600_000;
const minuteMs = 60_000;

/** A tile is one device and one hour, counted since the epoch in UTC. */
interface Tiles {
  readonly deviceKeys: readonly number[];
  readonly hours: readonly number[];
}

/** The hours of a question that rollups answer. */
export interface Rolled {
  /** What one row of the rollup covers. */
  readonly unit: 'hour' | 'minute';
  /** Half-open. */
  readonly fromHour: number;
  readonly toHour: number;
  /** Hours between them that are read from readings, of all devices. */
  readonly cutHours: readonly number[];
  /** Tiles in the other hours that are read from readings. */
  readonly rawTiles: Tiles;
  readonly metricKeys: ReadonlyMap<string, number>;
}

/** What one row of the rollup covers. */
export function unitMsOf({ unit }: Rolled): number {
  return unit === 'hour' ? hourMs : minuteMs;
}

/** Of one key, rows come in the order of the index. */
function anyOf(keys: readonly number[]): RawBuilder<unknown> {
  return keys.length === 1 ? sql`${keys[0]}::int4` : sql`any(${int4Array(keys)}::int4[])`;
}

/** One row for each row of the rollup, in its bucket; times are epoch milliseconds. */
export function rolledValues({ deviceKeys, metrics, buckets }: SeriesQuery, rolled: Rolled): RawBuilder<unknown> {
  const { unit, fromHour, toHour, cutHours, rawTiles, metricKeys } = rolled;
  const [table, perHour, ms] =
    unit === 'hour' ? (['rollup_1h', 1, hourMs] as const) : (['rollup_1m', 60, minuteMs] as const);
  const place = sql.ref(`r.${unit}`);
  const start = sql`(${place}::float8 * ${sql.lit(ms)})`;
  const hour = unit === 'hour' ? place : sql`(${place} / 60)`;
  const known = [...metrics.keys()].filter((no) => metricKeys.has(metrics[no]!));
  const keys = known.map((no) => metricKeys.get(metrics[no]!)!);
  const number =
    keys.length === 1 ? sql`${known[0]}::int4` : sql`(${known}::int4[])[array_position(${keys}::int4[], r.metric_key)]`;
  const starts = sql`${float8Array(buckets.map((bucket) => bucket.from))}::float8[]`;
  return sql`
    select r.device_key, ${number} as no, ${buckets.length === 1 ? sql`1` : sql`width_bucket(${start}, ${starts})`} as b,
      r.count, r.others, r.sum, r.sxx, r.rise, r.area, r.min, r.max, r.first, r.last, r.first_stream, r.last_stream,
      ${start} + r.min_ms as min_ms, ${start} + r.max_ms as max_ms, ${start} + r.first_ms as first_ms, ${start} + r.last_ms as last_ms
    from ${sql.table(table)} r
    where r.device_key = ${anyOf(deviceKeys)} and r.metric_key = ${anyOf(keys)}
      and ${place} >= ${sql.lit(fromHour * perHour)} and ${place} < ${sql.lit(toHour * perHour)}
      ${cutHours.length === 0 ? sql`` : sql`and ${hour} <> all(${int4Array(cutHours)}::int4[])`}
      ${isRolled(deviceKeys, rawTiles, hour)}`;
}

function isRolled(
  deviceKeys: readonly number[],
  { deviceKeys: ofDevices, hours }: Tiles,
  hour: RawBuilder<unknown>,
): RawBuilder<unknown> {
  if (hours.length === 0) return sql``;
  if (deviceKeys.length === 1) return sql`and ${hour} <> all(${int4Array(hours)}::int4[])`;
  return sql`and not exists (
    select from unnest(${int4Array(ofDevices)}::int4[], ${int4Array(hours)}::int4[]) as t (device_key, hour)
    where t.device_key = r.device_key and t.hour = ${hour})`;
}
