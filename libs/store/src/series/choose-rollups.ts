import type { ExceptionRange, RollupState, TileException } from '../rollups/read-rollups.ts';
import { withoutRolled } from './found-values.ts';
import { hourMs, type Rolled } from './rolled-values.ts';
import type { SeriesCatalog } from './series-catalog.ts';
import type { Aggregate, SeriesQuery, SeriesSource } from './series-query.ts';

/** The hours that rollups may answer, before the tiles in them are looked at. */
export type RolledHours = Pick<Rolled, 'unit' | 'fromHour' | 'toHour' | 'cutHours'>;

const ofReadingsOnly: readonly Aggregate[] = ['distinct', 'state'];
/** Hours that are cut by buckets, such as those of days in a zone with half an hour; more are read from readings altogether. */
const cutHoursMax = 1_000;

/**
 * Which whole hours of the question rollups may answer: none where an aggregate or a filter needs each value. An hour in which a bucket
 * begins has to be read from minutes or readings.
 */
export function hoursOfRollups(
  { aggregates, percentiles, where, buckets }: Pick<SeriesQuery, 'aggregates' | 'percentiles' | 'where' | 'buckets'>,
  state: RollupState,
): RolledHours | undefined {
  if (percentiles.length > 0 || where.length > 0 || ofReadingsOnly.some((name) => aggregates.has(name)))
    return undefined;
  const from = buckets[0]!.from / hourMs;
  const to = buckets.at(-1)!.to / hourMs;
  // Of hours before `finalUntil` only rollups are left.
  const isWholePast = state.finalUntil >= state.builtFrom;
  const fromHour = Math.max(Math.ceil(from), isWholePast ? 0 : state.builtFrom);
  const toHour = Math.min(Math.floor(to), state.builtUntil);
  if (fromHour >= toHour) return undefined;
  const cuts = new Set<number>();
  let areWholeMinutes = true;
  for (const { from: edge } of buckets.slice(1)) {
    const hour = Math.floor(edge / hourMs);
    if (edge % 60_000 !== 0) areWholeMinutes = false;
    if (edge % hourMs !== 0 && hour >= fromHour && hour < toHour) cuts.add(hour);
  }
  const cutHours = [...cuts];
  if (2 * cutHours.length <= toHour - fromHour && cutHours.length <= cutHoursMax)
    return { unit: 'hour', fromHour, toHour, cutHours };
  const fromMinutes = Math.max(fromHour, state.minutesFrom);
  if (!areWholeMinutes || fromMinutes >= toHour) return undefined;
  return { unit: 'minute', fromHour: fromMinutes, toHour, cutHours: [] };
}

/** More tiles that rollups do not answer cost more than reading all hours from readings. */
const rawTilesMax = 2_000;

/** Which tiles of these hours have to be looked for: those that rollups do not answer. */
export function exceptionsIn(
  { deviceKeys, aggregates }: SeriesQuery,
  { state, metricKeys }: SeriesCatalog,
  { unit, fromHour, toHour }: RolledHours,
): ExceptionRange {
  return {
    deviceKeys,
    from: Math.max(fromHour, state.finalUntil),
    to: toHour,
    exceptionsMax: Math.floor(Math.min(rawTilesMax, ((toHour - fromHour) * deviceKeys.length) / 2)),
    // The first or last value may be one that is no number, which rollups do not have.
    numericMetricKeys: aggregates.has('first') || aggregates.has('last') ? [...metricKeys.values()] : [],
    needsMinutes: unit === 'minute',
  };
}

/** @param exceptions undefined: too many */
export function rolledOf(
  hours: RolledHours,
  { state, metricKeys }: SeriesCatalog,
  exceptions: readonly TileException[] | undefined,
): Rolled | undefined {
  if (exceptions === undefined) {
    const toHour = Math.min(hours.toHour, state.finalUntil);
    if (toHour <= hours.fromHour) return undefined;
    return { ...hours, toHour, rawTiles: { deviceKeys: [], hours: [] }, metricKeys };
  }
  const cut = new Set(hours.cutHours);
  const tiles = exceptions.filter(({ hour }) => !cut.has(hour));
  return {
    ...hours,
    rawTiles: { deviceKeys: tiles.map(({ deviceKey }) => deviceKey), hours: tiles.map(({ hour }) => hour) },
    metricKeys,
  };
}

export function sourceOf(
  { deviceKeys, buckets }: SeriesQuery,
  rolled: Rolled | undefined,
  state: RollupState,
): SeriesSource {
  const range = { from: buckets[0]!.from, to: buckets.at(-1)!.to };
  const tiles = deviceKeys.length * (Math.ceil(range.to / hourMs) - Math.floor(range.from / hourMs));
  const removedUntil = state.finalUntil * hourMs;
  const missing = withoutRolled(range, rolled)
    .map(({ from, to }) => ({ from, to: Math.min(to, removedUntil) }))
    .filter(({ from, to }) => from < to);
  if (rolled === undefined) return { source: 'raw', resolution: 'raw', tilesRolledUp: 0, tilesRaw: tiles, missing };
  const { unit, fromHour, toHour, cutHours, rawTiles } = rolled;
  const own = unit === 'hour' ? '1h' : '1m';
  const tilesRolledUp = deviceKeys.length * (toHour - fromHour - cutHours.length) - rawTiles.hours.length;
  return {
    source: tilesRolledUp === tiles ? own : 'mixed',
    resolution: range.from < removedUntil ? own : 'raw',
    tilesRolledUp,
    tilesRaw: tiles - tilesRolledUp,
    missing,
  };
}
