import type pg from 'pg';
import { int4Array } from '../binary-arrays.ts';
import { type RollupState, readRollupState } from './horizon.ts';

export { type RollupState, readRollupState };

/**
 * Begins a transaction in which state, marks, rollups and readings are of one snapshot. The locks keep partitions from being dropped between its
 * statements; they are taken before the snapshot.
 */
export const beginExactRead =
  'begin isolation level repeatable read, read only; lock table only readings, only tiles, only rollup_1h, only rollup_1m in access share mode';

/** A tile that rollups do not answer. */
export interface TileException {
  readonly deviceKey: number;
  readonly hour: number;
  /** When it was last built; 0 where it never was. */
  readonly readings: number;
}

/** Half-open, in hours. */
export interface HourRange {
  readonly from: number;
  readonly to: number;
}

export interface TileRange extends HourRange {
  readonly deviceKeys: readonly number[];
}

export interface ExceptionRange extends TileRange {
  /** Only hours in `[finalUntil, …)` and in `[builtFrom, builtUntil)` have exceptions. */
  readonly from: number;
  readonly to: number;
  readonly exceptionsMax: number;
  /** Tiles in which one of these metrics has values that are not numbers are exceptions, too. */
  readonly numericMetricKeys?: readonly number[];
  /** Tiles without rollups of minutes are exceptions, too. */
  readonly needsMinutes?: boolean;
}

type ListedTile = readonly [deviceKey: number, hour: number, readings: number];

/**
 * The tiles of a range that must be read raw, newest first: marked ones, and those of the kind `raw`. Rollups answer all others. In a
 * transaction of `beginExactRead`.
 * @returns undefined where there are more than `exceptionsMax`
 */
export async function readTileExceptions(
  client: pg.ClientBase,
  { deviceKeys, from, to, exceptionsMax, numericMetricKeys = [], needsMinutes = false }: ExceptionRange,
): Promise<TileException[] | undefined> {
  const hasNumeric = numericMetricKeys.length > 0;
  const { rows } = await client.query<{ readonly count: number; readonly listed: readonly ListedTile[] | null }>({
    name: `tile_exceptions_${needsMinutes ? 'minutes' : 'hours'}${hasNumeric ? '_numeric' : ''}`,
    text: exceptionsText(needsMinutes, hasNumeric),
    values: [int4Array(deviceKeys), from, to, exceptionsMax, ...(hasNumeric ? [int4Array(numericMetricKeys)] : [])],
  });
  const { count, listed } = rows[0]!;
  if (count > exceptionsMax) return undefined;
  return (listed ?? []).map(([deviceKey, hour, readings]) => ({ deviceKey, hour, readings }));
}

/** Nothing is looked up where there are too many. */
function exceptionsText(needsMinutes: boolean, hasNumeric: boolean): string {
  const within = 'device_key = any($1::int4[]) and hour >= $2::int4 and hour < $3::int4';
  const parts = [
    // The index of raw tiles has those of hours.
    `select device_key, hour from tiles where ${within} and ${needsMinutes ? 'kind <> 2' : 'kind = 0'}`,
    `select device_key, hour from rollup_marks where ${within}`,
    ...(hasNumeric
      ? // A tile has a row for each metric.
        [
          `select distinct device_key, hour from rollup_1h where ${within} and metric_key = any($5::int4[]) and others > 0`,
        ]
      : []),
  ];
  return `
    with exceptions as materialized (
      select distinct device_key, hour from (
        ${parts.map((part) => `(${part} limit $4::int4 + 1)`).join(' union all ')}
      ) as e
    )
    select n.count, case when n.count <= $4::int4 then (
      select json_agg(json_build_array(e.device_key, e.hour, coalesce(t.readings, 0)) order by e.hour desc, e.device_key)
      from exceptions e left join lateral (
        select t.readings from tiles t where t.device_key = e.device_key and t.hour = e.hour and t.hour >= $2::int4 and t.hour < $3::int4 limit 1
      ) as t on true
    ) end as listed
    from (select count(*) as count from exceptions) as n`;
}

/** Readings in the tiles of a range, as they were when each was built, and whether one of the tiles has been marked since. */
export async function readTileReadings(
  client: pg.ClientBase,
  { deviceKeys, from, to }: TileRange,
): Promise<{ readonly readings: number; readonly hasMarks: boolean }> {
  const within = 'device_key = any($1::int4[]) and hour >= $2::int4 and hour < $3::int4';
  const { rows } = await client.query<{ readings: number; hasMarks: boolean }>({
    name: 'tile_readings',
    text: `
      select coalesce(sum(readings), 0)::int8 as readings, exists (select from rollup_marks where ${within}) as "hasMarks"
      from tiles where ${within}`,
    values: [int4Array(deviceKeys), from, to],
  });
  return rows[0]!;
}
