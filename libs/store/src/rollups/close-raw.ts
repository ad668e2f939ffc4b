import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type Hours, type RangeOptions, buildHours, nextRangeHours, rangeHours } from './build-range.ts';
import { buildTiles } from './build-tiles.ts';
import { readMarks, spansOf } from './build-marked.ts';
import { type RollupState, changeHorizon, readDueHour, readRollupState } from './horizon.ts';

const attemptsMax = 100;
const tilesPerStep = 200;
/** Each try makes writers wait, up to 50 ms. */
const retryPauseMs = 1_000;

/** Transactions that change readings stay open: retention tries again later. */
class HorizonHeldError extends Error {
  override readonly name = 'HorizonHeldError';
}

/** Closing hours that are not over would refuse their readings for good. */
class ClockAheadError extends Error {
  override readonly name = 'ClockAheadError';
}

/**
 * Makes the rollups below an hour final, before its readings are dropped: no reading below it is taken any more, and every tile gets rollups,
 * also those that were read raw so far.
 * @param client of the builder (asBuilder)
 * @param periods in which readings are about to be dropped, in order
 */
export async function closeRaw(client: pg.ClientBase, periods: readonly Hours[], signal?: AbortSignal): Promise<void> {
  const to = periods.at(-1)?.to ?? 0;
  const state = await readRollupState(client);
  if (state.finalUntil >= to) return;
  if (to > (await readDueHour(client)))
    throw new ClockAheadError(
      'readings of hours that are not over are past retention: this clock is ahead of the one of Postgres',
    );
  // What lies above the horizon, if anything, has no writers any more from here on.
  await underLock(
    client,
    `update rollup_state set raw_from = greatest(raw_from, ${to}), horizon = greatest(horizon, ${to})`,
    signal,
  );
  const afterChunk = async () => signal?.throwIfAborted();
  const options = { minutesFrom: state.minutesFrom, isFinal: true };
  await buildUnbuilt(client, periods, state, { ...options, afterChunk });
  await buildRaw(client, state, to, afterChunk);
  // An erasure marks tiles until the rollups are final.
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    for (;;) {
      const marks = await readMarks(client, { from: 0, to }, 0);
      if (marks.length === 0) break;
      await buildTiles(client, spansOf(marks), { ...options, marks });
      await afterChunk();
    }
    const finish = `
      update rollup_state set final_until = ${to}, built_from = greatest(built_from, ${to}), built_until = greatest(built_until, ${to})
      where not exists (select from rollup_marks where hour < ${to})`;
    await underLock(client, finish, signal);
    if ((await readRollupState(client)).finalUntil >= to) return;
    await sleep(retryPauseMs, undefined, { signal });
  }
  throw new HorizonHeldError('tiles past retention are marked again and again');
}

/** Hours that are not built yet. */
async function buildUnbuilt(
  client: pg.ClientBase,
  periods: readonly Hours[],
  { finalUntil, builtFrom, builtUntil }: RollupState,
  options: RangeOptions,
): Promise<void> {
  let length = rangeHours;
  for (const period of periods)
    for (const part of [
      { from: Math.max(finalUntil, period.from), to: Math.min(builtFrom, period.to) },
      { from: Math.max(finalUntil, builtUntil, period.from), to: period.to },
    ])
      for (let from = part.from; from < part.to;) {
        const to = Math.min(part.to, from + length);
        length = nextRangeHours(length, await buildHours(client, { from, to }, options));
        from = to;
      }
}

/** Tiles that were read raw so far, oldest first. */
async function buildRaw(
  client: pg.ClientBase,
  { finalUntil, minutesFrom }: RollupState,
  to: number,
  afterChunk: () => Promise<void>,
): Promise<void> {
  let last = { hour: finalUntil, deviceKey: 0 };
  for (;;) {
    const { rows } = await client.query<{ hour: number; deviceKey: number }>(
      `select hour, device_key as "deviceKey" from tiles
       where kind = 0 and hour < ${to} and hour >= ${last.hour} and (hour, device_key) > ($1, $2) order by hour, device_key limit ${tilesPerStep}`,
      [last.hour, last.deviceKey],
    );
    if (rows.length === 0) return;
    last = rows.at(-1)!;
    await buildTiles(client, spansOf(rows), { minutesFrom, isFinal: true });
    await afterChunk();
  }
}

async function underLock(client: pg.ClientBase, update: string, signal: AbortSignal | undefined): Promise<void> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    if ((await changeHorizon(client, update)) === undefined) return;
    await sleep(retryPauseMs, undefined, { signal });
  }
  throw new HorizonHeldError('transactions that change readings stay open');
}
