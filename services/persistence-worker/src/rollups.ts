import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { buildBackward } from '@fleetwire/store/rollups/backfill';
import { buildMarked } from '@fleetwire/store/rollups/build-marked';
import { buildForward, nextRangeHours, rangeHours } from '@fleetwire/store/rollups/build-range';
import type { BuiltTiles } from '@fleetwire/store/rollups/build-tiles';
import { type Builder, asBuilder, moveDueHorizon, startOfHour } from '@fleetwire/store/rollups/horizon';
import { rollupBacklog } from '@fleetwire/store/rollups/backlog';
import { dropOldRollups } from '@fleetwire/store/rollups/retention';
import type { WorkerConfiguration } from './configuration.ts';
import { repeat } from './repeat.ts';
import type { RollupMetrics } from './rollup-metrics.ts';

/** The horizon is due once an hour, and tiles are marked now and then: looking for work reads a row and an index. */
const lookPauseMs = 10_000;
/** Between two passes with work; another worker may have the next. */
const passPauseMs = 100;
const passMs = 5_000;
const failurePauseMs = 5_000;
/** After a move for which the lock was not free: writers waited for it, too. */
const movePauseMs = 60_000;
const retentionIntervalMs = 60 * 60 * 1_000;

export interface RollupsOptions {
  readonly pool: Database['pool'];
  readonly config: Pick<WorkerConfiguration, 'hoursRetentionDays' | 'minutesRetentionDays'>;
  readonly metrics: RollupMetrics;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Moves the horizon, and builds rollups: first what follows what is built, then marked tiles, then the past. Every worker runs this; one of them at
 * a time builds, and may be killed: what is not committed is built again. Resolves when the signal is aborted.
 */
export function runRollups(options: RollupsOptions): Promise<void> {
  const { pool, metrics, logger, signal } = options;
  let droppedAt = -Infinity;
  let postponedAt = -Infinity;
  const task = async (): Promise<number> => {
    let isBusy = false;
    await asBuilder(pool, async (client) => {
      if (performance.now() - postponedAt >= movePauseMs && !(await move(client, logger)))
        postponedAt = performance.now();
      isBusy = await build(client, options);
      if (performance.now() - droppedAt < retentionIntervalMs) return;
      const dropped = await dropOldRollups(client, options.config);
      if (dropped.length > 0) logger.info({ dropped }, 'dropped rollups past retention');
      droppedAt = performance.now();
    });
    metrics.observe(await rollupBacklog(pool));
    return isBusy ? passPauseMs : lookPauseMs;
  };
  const onFailure = (error: unknown) => logger.warn({ err: error }, 'failed to build rollups; retrying');
  return repeat(task, { failurePauseMs, onFailure, signal });
}

/** @returns false where a transaction that is open keeps the horizon from moving */
async function move(client: Builder, logger: Logger): Promise<boolean> {
  const moved = await moveDueHorizon(client);
  if (moved === undefined) return true;
  const { horizon, holder } = moved;
  // Not urgent: what lies above the horizon is read raw.
  if (holder === undefined) logger.info({ horizon: new Date(startOfHour(horizon)).toISOString() }, 'horizon moved');
  else logger.warn({ holder }, 'horizon move postponed: a transaction that changes readings stays open');
  return holder === undefined;
}

/** @returns whether there may be more */
async function build(client: Builder, { config, metrics, signal }: RollupsOptions): Promise<boolean> {
  const startedAt = performance.now();
  let chunkAt = startedAt;
  // At most half of a core, because the worker's batches come first.
  const afterChunk = async (built: BuiltTiles): Promise<void> => {
    metrics.count(built);
    await sleep(performance.now() - chunkAt, undefined, { signal });
    chunkAt = performance.now();
  };
  const { hoursRetentionDays } = config;
  let length = rangeHours;
  const buildPast = async () => {
    const step = await buildBackward(client, { afterChunk, now: Date.now(), hoursRetentionDays, rangeHours: length });
    if (step !== undefined) length = nextRangeHours(length, step.built);
    return step;
  };
  const steps = [() => buildForward(client, { afterChunk }), () => buildMarked(client, { afterChunk }), buildPast];
  while (performance.now() - startedAt < passMs) {
    chunkAt = performance.now();
    let hasBuilt = false;
    for (const step of steps) {
      hasBuilt = (await step()) !== undefined;
      if (hasBuilt) break;
    }
    if (!hasBuilt) return false;
    signal.throwIfAborted();
  }
  return true;
}
