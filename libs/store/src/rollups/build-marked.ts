import type pg from 'pg';
import { type BuiltTiles, type TileMark, buildTiles } from './build-tiles.ts';
import type { RangeOptions } from './build-range.ts';
import { readRollupState } from './horizon.ts';

/** Marked tiles that one transaction builds. */
const tilesPerStep = 50;
/**
 * A tile is built once no reading has come for it for so long; until then it is read raw. Else a fleet whose clocks are an hour behind would have
 * each of its tiles built again and again.
 */
const markQuietMs = 5 * 60_000;

export interface MarkedOptions extends Pick<RangeOptions, 'afterChunk'> {
  readonly quietMs?: number;
}

/**
 * Builds the newest marked tiles again.
 * @returns undefined where there are none that are due
 */
export async function buildMarked(
  client: pg.ClientBase,
  { quietMs = markQuietMs, afterChunk }: MarkedOptions = {},
): Promise<BuiltTiles | undefined> {
  const { builtFrom, builtUntil, finalUntil, minutesFrom } = await readRollupState(client);
  const marks = await readMarks(client, { from: Math.max(builtFrom, finalUntil), to: builtUntil }, quietMs);
  if (marks.length === 0) return undefined;
  const built = await buildTiles(client, spansOf(marks), { minutesFrom, marks });
  await afterChunk?.(built);
  return built;
}

/**
 * Marks that an open transaction does not hold. The versions are read before the readings: a mark that is raised in between is not cleared.
 */
export async function readMarks(
  client: pg.ClientBase,
  hours: { readonly from: number; readonly to: number },
  quietMs: number,
): Promise<TileMark[]> {
  const { rows } = await client.query<TileMark & pg.QueryResultRow>(
    `select device_key as "deviceKey", hour, version from rollup_marks
     where hour >= $1 and hour < $2 and marked_at <= now() - $3::float8 * interval '1 millisecond'
     order by hour desc limit ${tilesPerStep} for update skip locked`,
    [hours.from, hours.to, quietMs],
  );
  return rows;
}

export function spansOf(tiles: readonly { readonly deviceKey: number; readonly hour: number }[]) {
  return tiles.map(({ deviceKey, hour }) => ({ deviceKey, fromHour: hour, toHour: hour + 1 }));
}
