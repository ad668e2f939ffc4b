import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { createReplay } from '@fleetwire/store/dead-letters/replays';
import { settleReplays } from '@fleetwire/store/dead-letters/settle';
import { transientFingerprints } from '@fleetwire/store/dead-letters/transient';

const settleBatch = 500;
const settlePauseMs = 250;
const settleIdlePauseMs = 1_000;
/** The retry ladder takes eleven minutes; a message still in the queue after an hour would not be told from a lost trace. */
const unknownAfterMs = 60 * 60_000;

const automaticLookMs = 5_000;
const automaticRatePerSecond = 50;
const automaticMax = 100_000;
/** As which the audit names us. */
const ourselves = 'fleetwire';

export interface ReplayUpkeepOptions {
  readonly database: Database;
  /** How often a dead letter may be replayed by itself; 0 turns it off. */
  readonly automaticReplaysMax: number;
  /** How long it must have lain before. */
  readonly automaticReplayDelayMs: number;
  /** Called when a replay was made. */
  readonly onReplay: () => void;
  readonly logger: Logger;
}

/**
 * Two small tasks, done by every instance without harm: finds out what became of what was replayed, and replays by itself, a bounded
 * number of times, what failed for a reason that passes.
 */
export function startReplayUpkeep(options: ReplayUpkeepOptions): { stop(): Promise<void> } {
  const { database, automaticReplaysMax, automaticReplayDelayMs, onReplay, logger } = options;
  const stopping = new AbortController();
  const { signal } = stopping;

  const settle = async (): Promise<number> => {
    const { looked } = await settleReplays(database, { limit: settleBatch, unknownAfterMs, signal });
    return looked === settleBatch ? 0 : looked > 0 ? settlePauseMs : settleIdlePauseMs;
  };

  const replayTransients = async (): Promise<number> => {
    const fingerprints = await transientFingerprints(database, {
      automaticReplaysMax,
      settledMs: automaticReplayDelayMs,
      signal,
    });
    if (fingerprints.length === 0) return automaticLookMs;
    const replay = await createReplay(database, {
      id: randomUUID(),
      source: 'automatic',
      createdBy: ourselves,
      selection: { fingerprints, statuses: ['open'], automaticReplaysBelow: automaticReplaysMax },
      ratePerSecond: automaticRatePerSecond,
      max: automaticMax,
      action: { action: 'replay-requested', details: { fingerprints } },
      signal,
    });
    if (replay !== undefined) {
      logger.info({ replay: replay.id, matched: replay.matched }, 'replaying what failed for a reason that passes');
      onReplay();
    }
    return automaticLookMs;
  };

  const tasks = [repeat(settle, { signal, logger, name: 'settling replays' })];
  if (automaticReplaysMax > 0) tasks.push(repeat(replayTransients, { signal, logger, name: 'automatic replays' }));
  return {
    stop: async () => {
      stopping.abort(new Error('the upkeep of replays is stopping'));
      await Promise.all(tasks);
    },
  };
}

/** Repeats a task, which says how long to pause; what fails is tried again, and told once. */
async function repeat(
  task: () => Promise<number>,
  { signal, logger, name }: { signal: AbortSignal; logger: Logger; name: string },
): Promise<void> {
  let isFailing = false;
  while (!signal.aborted) {
    let pauseMs = settleIdlePauseMs;
    try {
      pauseMs = await task();
      isFailing = false;
    } catch (error) {
      if (signal.aborted) return;
      if (!isFailing) logger.warn({ err: error, task: name }, 'cannot go on, trying again');
      isFailing = true;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
