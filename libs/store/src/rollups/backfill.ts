import type pg from 'pg';
import { existingPeriods } from '../partitions.ts';
import { type BuildStep, type RangeOptions, buildHours, rangeHours as firstRangeHours } from './build-range.ts';
import { hourOf, readRollupState } from './horizon.ts';
import { rollupsKeptFrom } from './rollup-partitions.ts';

export interface BackfillOptions extends Omit<RangeOptions, 'minutesFrom'> {
  /** Epoch milliseconds. */
  readonly now: number;
  /** How long rollups of hours are kept. */
  readonly hoursRetentionDays: number;
  /** Hours to build (nextRangeHours). */
  readonly rangeHours?: number;
}

/**
 * Builds the next hours before what is built, newest first.
 * @returns undefined where all of the past is built that has rollups
 */
export async function buildBackward(
  client: pg.ClientBase,
  { now, hoursRetentionDays, rangeHours = firstRangeHours, ...options }: BackfillOptions,
): Promise<BuildStep | undefined> {
  const { builtFrom, finalUntil, minutesFrom } = await readRollupState(client);
  const floor = Math.max(finalUntil, rollupsKeptFrom(now, hoursRetentionDays));
  if (builtFrom <= floor) return undefined;
  const periods = await existingPeriods(client);
  const newest = periods.findLast((period) => hourOf(period.from) < builtFrom);
  // Hours without a partition have no readings: they are passed over.
  const to = Math.min(builtFrom, hourOf(newest?.to ?? 0));
  const from = newest === undefined ? floor : Math.max(floor, hourOf(newest.from), to - rangeHours);
  const hours = { from, to: Math.max(from, to) };
  const built = await buildHours(client, hours, { ...options, minutesFrom });
  await client.query('update rollup_state set built_from = $2 where built_from = $1', [builtFrom, from]);
  return { hours, built };
}
