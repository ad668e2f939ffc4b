import type pg from 'pg';
import { type BuildOptions, type BuiltTiles, buildTiles, nothingBuilt, sumOf } from './build-tiles.ts';
import { readRollupState, startOfHour } from './horizon.ts';

/** Hours of one range, at first and at most: a restart builds at most so many again. */
export const rangeHours = 24;
const rangeHoursMax = 100 * 24;
/** How long one transaction should take, about, and devices in it at most. */
const chunkMs = 1_000;
const devicesPerChunkMax = 500;
const devicesInFirstChunk = 5;
/** Readings that one range should have, about. */
const readingsPerRangeMin = 50_000;
const readingsPerRangeMax = 500_000;

/** The length of the next range, from what the last one held. */
export function nextRangeHours(hours: number, { readings }: BuiltTiles): number {
  if (readings > readingsPerRangeMax) return Math.max(1, hours >>> 1);
  return readings < readingsPerRangeMin ? Math.min(rangeHoursMax, hours * 4) : hours;
}

export interface Hours {
  readonly from: number;
  readonly to: number;
}

export interface RangeOptions extends BuildOptions {
  /** Called after each transaction, for a pause. Where it throws, the range is built again later. */
  readonly afterChunk?: ((built: BuiltTiles) => Promise<void>) | undefined;
}

/** Builds all tiles of these hours. Nothing is answered from them until the state says so. */
export async function buildHours(
  client: pg.ClientBase,
  { from, to }: Hours,
  { afterChunk, ...options }: RangeOptions,
): Promise<BuiltTiles> {
  let total = nothingBuilt;
  if (from >= to) return total;
  let devices = devicesInFirstChunk;
  for (let last = 0; ;) {
    // A device is registered in its period before its first reading there is written; what is written later is marked.
    const { rows } = await client.query<{ device_key: number }>(
      `select distinct device_key from device_periods where from_ts < $1 and to_ts > $2 and device_key > $3 order by 1 limit $4`,
      [new Date(startOfHour(to)).toISOString(), new Date(startOfHour(from)).toISOString(), last, devices],
    );
    if (rows.length === 0) return total;
    last = rows.at(-1)!.device_key;
    const spans = rows.map(({ device_key: deviceKey }) => ({ deviceKey, fromHour: from, toHour: to }));
    const startedAt = performance.now();
    const built = await buildTiles(client, spans, options);
    total = sumOf(total, built);
    const share = Math.min(4, chunkMs / (performance.now() - startedAt));
    devices = Math.min(devicesPerChunkMax, Math.max(1, Math.round(rows.length * share)));
    await afterChunk?.(built);
  }
}

export interface BuildStep {
  readonly hours: Hours;
  readonly built: BuiltTiles;
}

/**
 * Builds the next hours between what is built and the horizon, oldest first.
 * @returns undefined where everything below the horizon is built
 */
export async function buildForward(
  client: pg.ClientBase,
  options: Omit<RangeOptions, 'minutesFrom'> = {},
): Promise<BuildStep | undefined> {
  const { builtUntil, horizon, minutesFrom } = await readRollupState(client);
  const hours = { from: builtUntil, to: Math.min(horizon, builtUntil + rangeHours) };
  if (hours.from >= hours.to) return undefined;
  const built = await buildHours(client, hours, { ...options, minutesFrom });
  await client.query('update rollup_state set built_until = $2 where built_until = $1', [hours.from, hours.to]);
  return { hours, built };
}
