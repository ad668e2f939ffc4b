import { openDatabase } from '@fleetwire/store/database';
import { buildBackward } from '@fleetwire/store/rollups/backfill';
import { buildMarked } from '@fleetwire/store/rollups/build-marked';
import { buildForward } from '@fleetwire/store/rollups/build-range';
import type { BuiltTiles } from '@fleetwire/store/rollups/build-tiles';
import { asBuilder } from '@fleetwire/store/rollups/horizon';

const statementTimeoutMs = 600_000;
const hoursRetentionDays = 3_650;
const msMax = 60_000;

export interface CaughtUp {
  /** Tiles that were marked, and so read raw. */
  readonly marked: number;
  /** Tiles that have been built since the worker, which builds at half speed, has let go, and the readings in them. */
  readonly tiles: number;
  readonly readings: number;
  readonly seconds: number;
}

class OutOfTimeError extends Error {
  override readonly name = 'OutOfTimeError';
}

/** Builds rollups that are due, for a minute or a transaction more, without the worker's pauses and without waiting until marked tiles are quiet. */
export async function catchUpRollups(databaseUrl: string): Promise<CaughtUp> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'bench' });
  let [tiles, readings, startedAt] = [0, 0, 0];
  const afterChunk = async (built: BuiltTiles): Promise<void> => {
    tiles += Object.values(built.tiles).reduce((sum, count) => sum + count, 0);
    readings += built.readings;
    if (performance.now() - startedAt > msMax) throw new OutOfTimeError();
  };
  try {
    // As autovacuum does within minutes.
    await database.pool.query('analyze');
    const { rows } = await database.pool.query<{ marked: number }>('select count(*) as marked from rollup_marks');
    await asBuilder(
      database.pool,
      async (client) => {
        startedAt = performance.now();
        const steps = [
          () => buildForward(client, { afterChunk }),
          () => buildMarked(client, { afterChunk, quietMs: 0 }),
          () => buildBackward(client, { afterChunk, now: Date.now(), hoursRetentionDays }),
        ];
        const next = async (): Promise<boolean> => {
          for (const step of steps) if ((await step()) !== undefined) return true;
          return false;
        };
        while (await next());
      },
      { isWaiting: true },
    ).catch((error: unknown) => {
      if (!(error instanceof OutOfTimeError)) throw error;
    });
    return { marked: rows[0]!.marked, tiles, readings, seconds: (performance.now() - startedAt) / 1_000 };
  } finally {
    await database.close();
  }
}
