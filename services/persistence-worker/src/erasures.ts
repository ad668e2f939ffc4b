import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { type ErasureSteps, eraseStep } from '@fleetwire/store/registry/erasures';
import { repeat } from './repeat.ts';

/** Looking for a job is an index lookup that writes nothing. */
const lookPauseMs = 1_000;
/** Between two steps, so that the worker's batches come first. */
const stepPauseMs = 20;
const failurePauseMs = 5_000;
const erasureSteps: ErasureSteps = {
  rowsMax: 5_000,
  // All retry steps together take eleven minutes.
  settleMs: 15 * 60_000,
  passPauseMs: 60_000,
};

export interface ErasuresOptions {
  readonly pool: Database['pool'];
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Erases the readings of devices, as the jobs say that query-api has written. Every worker may do so at the same time, and may be killed:
 * a job is continued where the last committed step ended. Resolves when the signal is aborted.
 */
export function runErasures({ pool, logger, signal }: ErasuresOptions): Promise<void> {
  const task = async (): Promise<number> => {
    const step = await eraseStep(pool, erasureSteps);
    if (step?.state === 'done') logger.info({ erasure: step.id }, 'erased the readings of a device');
    return step === undefined ? lookPauseMs : stepPauseMs;
  };
  const onFailure = (error: unknown) => logger.warn({ err: error }, 'failed to erase readings; retrying');
  return repeat(task, { failurePauseMs, onFailure, signal });
}
