import type pg from 'pg';
import { int4Array } from '../binary-arrays.ts';
import { readTileExceptions, type RollupState, type TileException } from '../rollups/read-rollups.ts';
import { together } from '../together.ts';
import { exceptionsIn, hoursOfRollups, type RolledHours, rolledOf, sourceOf } from './choose-rollups.ts';
import {
  type BuiltReadings,
  confirmedReadings,
  coverageOf,
  probeReadings,
  readBuiltReadings,
  type ReadingsRange,
} from './estimate-readings.ts';
import { joinedSpans, type StoredRange, type TimeSpan } from './found-values.ts';
import { hourMs, type Rolled } from './rolled-values.ts';
import type { SeriesCatalog } from './series-catalog.ts';
import type { Aggregate, SeriesQuery, SeriesSource } from './series-query.ts';

/** A connection on which a question is planned. */
export type StoreClient = pg.PoolClient;

/** What a question reads, in the snapshot of the client's transaction. */
export interface SeriesPlan {
  readonly stored: StoredRange;
  readonly source: SeriesSource;
}

/** Parallel workers take some milliseconds to start, and look up each value several times. */
const serialReadingsMax = 200_000;

const fewTilesMax = 2_500;

/** About how many rows a question reads. */
export interface ReadCost {
  readonly rawRows: number;
  readonly rollupRows: number;
}

export async function planSeries(
  client: pg.PoolClient,
  catalog: SeriesCatalog,
  query: SeriesQuery,
): Promise<SeriesPlan> {
  const hours = hoursOfQuery(query, catalog.state);
  const [exceptions, periods] = await together(exceptionsOf(client, catalog, query, hours), readPeriods(client, query));
  return planOf(query, catalog, { hours, exceptions, periods });
}

/** @param countedMax up to here an estimate is not confirmed by counting */
export async function planWithCost(
  client: pg.PoolClient,
  catalog: SeriesCatalog,
  query: SeriesQuery,
  countedMax: number,
): Promise<SeriesPlan & { readonly cost: ReadCost }> {
  const { deviceKeys } = query;
  const range: ReadingsRange = { deviceKeys, ...rangeOf(query) };
  const hours = hoursOfQuery(query, catalog.state);
  const { tiles, left } = coverageOf(range, catalog.state);
  const outside = hours === undefined ? left : withoutHours(left, hours.fromHour, catalog.state.finalUntil);
  const readBuilt = () => readBuiltReadings(client, deviceKeys, tiles);
  const mayNeedBuilt = hours?.unit === 'minute' || (hours?.cutHours.length ?? 0) > 0;
  // Of few tiles it is cheaper to read with the others than to ask for later.
  const isBuiltRead =
    hours === undefined || (mayNeedBuilt && deviceKeys.length * (tiles.to - tiles.from) <= fewTilesMax);
  // Where rollups may have all of it, no period is looked for until they have not.
  const isWhole = hours !== undefined && !mayNeedBuilt && isWithinHours(range, hours) && !isOfNeighbours(query);
  const [exceptions, early, probed, built] = await together(
    exceptionsOf(client, catalog, query, hours),
    isWhole ? Promise.resolve(undefined) : readPeriods(client, query),
    probeReadings(client, deviceKeys, outside),
    isBuiltRead ? readBuilt() : Promise.resolve(undefined),
  );
  const isRead = isWhole && exceptions !== undefined;
  const periods = early ?? (isRead ? withoutPeriods(range) : await readPeriods(client, query));
  const builtOnce = async () => built ?? (await readBuilt());
  const plan = planOf(query, catalog, { hours, exceptions, periods });
  const { rolled } = plan.stored;
  const raw =
    hours !== undefined && exceptions !== undefined
      ? await readingsBesideRollups(hours, exceptions, builtOnce)
      : await builtOnce();
  const rawRows = await confirmedReadings(client, { range, built: raw, left: outside, probed }, countedMax);
  const stored = { ...plan.stored, isParallel: rawRows > serialReadingsMax };
  return { ...plan, stored, cost: { rawRows, rollupRows: rolled === undefined ? 0 : rollupRowsOf(query, rolled) } };
}

function isWithinHours({ from, to }: TimeSpan, { fromHour, toHour }: RolledHours): boolean {
  return from >= fromHour * hourMs && to <= toHour * hourMs;
}

/** Nothing is read by them: single tiles have their own times. */
function withoutPeriods({ from }: TimeSpan): StoredPeriods {
  return { periods: [], oldest: from };
}

function hoursOfQuery(query: SeriesQuery, state: RollupState): RolledHours | undefined {
  return query.deviceKeys.length === 0 ? undefined : hoursOfRollups(query, state);
}

async function exceptionsOf(
  client: pg.PoolClient,
  catalog: SeriesCatalog,
  query: SeriesQuery,
  hours: RolledHours | undefined,
): Promise<TileException[] | undefined> {
  return hours && readTileExceptions(client, exceptionsIn(query, catalog, hours));
}

interface Found {
  readonly hours: RolledHours | undefined;
  readonly exceptions: readonly TileException[] | undefined;
  readonly periods: StoredPeriods;
}

function planOf(query: SeriesQuery, catalog: SeriesCatalog, { hours, exceptions, periods }: Found): SeriesPlan {
  const rolled = hours && rolledOf(hours, catalog, exceptions);
  return {
    stored: { positions: catalog.positions, ...periods, rolled },
    source: sourceOf(query, rolled, catalog.state),
  };
}

/** Of hours that are cut by buckets a share of all readings; the others have theirs in the list of exceptions. */
async function readingsBesideRollups(
  { fromHour, toHour, cutHours }: RolledHours,
  exceptions: readonly TileException[],
  readBuilt: () => Promise<BuiltReadings>,
): Promise<BuiltReadings> {
  const readings = exceptions.reduce((sum, one) => sum + one.readings, 0);
  if (cutHours.length === 0) return { readings, isExact: true };
  const all = await readBuilt();
  return { readings: readings + Math.ceil((all.readings * cutHours.length) / (toHour - fromHour)), isExact: true };
}

/** At most. */
function rollupRowsOf(
  { deviceKeys, metrics }: SeriesQuery,
  { unit, fromHour, toHour, cutHours, metricKeys }: Rolled,
): number {
  const rowsPerHour = unit === 'hour' ? 1 : 60;
  const known = metrics.filter((name) => metricKeys.has(name)).length;
  return deviceKeys.length * known * (toHour - fromHour - cutHours.length) * rowsPerHour;
}

function rangeOf({ buckets }: SeriesQuery): TimeSpan {
  return { from: buckets[0]!.from, to: buckets.at(-1)!.to };
}

/** Where only rollups are left, they are the answer. */
function withoutHours(spans: readonly TimeSpan[], fromHour: number, finalUntil: number): TimeSpan[] {
  if (fromHour >= finalUntil) return [...spans];
  const [from, to] = [fromHour * hourMs, finalUntil * hourMs];
  return spans
    .flatMap((span) => [
      { from: span.from, to: Math.min(span.to, from) },
      { from: Math.max(span.from, to), to: span.to },
    ])
    .filter((span) => span.from < span.to);
}

type StoredPeriods = Pick<StoredRange, 'periods' | 'oldest'>;

const ofNeighbours: readonly Aggregate[] = ['delta', 'increase', 'rate', 'twavg', 'state'];

function isOfNeighbours({ aggregates }: SeriesQuery): boolean {
  return ofNeighbours.some((name) => aggregates.has(name));
}

/** The periods of more devices than this are those of the range, but for a few. */
const devicesOfPeriodsMax = 100;

/** Periods are registered before the readings in them. */
async function readPeriods(client: pg.PoolClient, query: SeriesQuery): Promise<StoredPeriods> {
  const { from, to } = rangeOf(query);
  const { deviceKeys } = query;
  if (deviceKeys.length === 0) return { periods: [], oldest: from };
  const hasNeighbours = isOfNeighbours(query);
  if (deviceKeys.length > devicesOfPeriodsMax && !hasNeighbours) return { periods: [{ from, to }], oldest: from };
  // Values before the range are looked for in all periods.
  const since = hasNeighbours ? 0 : from;
  const { rows } = await client.query<{ from: number; to: number }>({
    name: 'periods_of_devices',
    text: `
      select from_ts as from, max(to_ts) as to from device_periods
      where device_key = any($1::int4[]) and to_ts > $2::timestamptz and from_ts < $3::timestamptz group by 1 order by 1`,
    values: [int4Array(deviceKeys), new Date(since).toISOString(), new Date(to).toISOString()],
  });
  return { periods: joinedSpans(rows.filter((period) => period.to > from)), oldest: rows[0]?.from ?? from };
}
