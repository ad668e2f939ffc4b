import { randomUUID } from 'node:crypto';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { createReplay } from '@fleetwire/store/dead-letters/replays';
import { settleReplays } from '@fleetwire/store/dead-letters/settle';
import { transientFingerprints } from '@fleetwire/store/dead-letters/transient';
import { repeat } from '../repeat.ts';

const settleBatch = 500;
const settlePauseMs = 250;
const settleIdlePauseMs = 1_000;
/** All retry steps together take eleven minutes. After an hour, a message still queued cannot be told from one that left no trace. */
const unknownAfterMs = 60 * 60_000;

const automaticLookMs = 5_000;
const automaticRatePerSecond = 50;
const automaticMax = 100_000;
/** The actor of automatic replays in the audit. */
const automaticActor = 'fleetwire';

export interface MaintainReplaysOptions {
  readonly database: Database;
  /** How often a dead letter may be replayed automatically; 0 turns automatic replays off. */
  readonly automaticReplaysMax: number;
  /** How long ago a dead letter must have arrived before it is replayed automatically. */
  readonly automaticReplayDelayMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Two tasks that every worker may do at the same time: finding the outcome of published dead letters, and replaying dead letters that
 * failed for a transient reason, a bounded number of times. Resolves when the signal is aborted.
 */
export async function maintainReplays(options: MaintainReplaysOptions): Promise<void> {
  const { database, automaticReplaysMax, automaticReplayDelayMs, logger, signal } = options;

  const settle = async (): Promise<number> => {
    const { checked } = await settleReplays(database, { limit: settleBatch, unknownAfterMs, signal });
    return checked === settleBatch ? 0 : checked > 0 ? settlePauseMs : settleIdlePauseMs;
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
      createdBy: automaticActor,
      selection: { fingerprints, statuses: ['open'], automaticReplaysBelow: automaticReplaysMax },
      ratePerSecond: automaticRatePerSecond,
      max: automaticMax,
      action: { action: 'replay-requested', details: { fingerprints } },
      signal,
    });
    if (replay !== undefined)
      logger.info(
        { replay: replay.id, matched: replay.matched },
        'replaying dead letters that failed for a transient reason',
      );
    return automaticLookMs;
  };

  const repeated = (name: string, task: () => Promise<number>) =>
    repeat(task, {
      failurePauseMs: settleIdlePauseMs,
      onFailure: (error) => logger.warn({ err: error, task: name }, 'task failed; repeating it until it succeeds'),
      signal,
    });
  const tasks = [repeated('settle replays', settle)];
  if (automaticReplaysMax > 0) tasks.push(repeated('automatic replays', replayTransients));
  await Promise.all(tasks);
}
