import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { minuteOf } from '@fleetwire/contracts/edge-report';
import { deleteReconciliationEntries } from '@fleetwire/store/reconciliation';
import { forgetDeadLetters } from '@fleetwire/store/dead-letters/retention';
import { maintainPartitions } from '@fleetwire/store/partitions';
import type { WorkerConfiguration } from './configuration.ts';

const weeksAhead = 2;
const upkeepIntervalMs = 60 * 60 * 1_000;
const dayMs = 24 * 60 * 60 * 1_000;
const retryPauseMs = 10_000;

export interface UpkeepOptions {
  readonly pool: Database['pool'];
  readonly config: Pick<
    WorkerConfiguration,
    'retentionDays' | 'deadLetterRetentionDays' | 'deadLetterOpenRetentionDays' | 'booksRetentionDays'
  >;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Makes partitions ahead, drops those past retention and forgets old dead letters and books, now and every hour. Resolves when the
 * signal is aborted.
 */
export async function startUpkeep({ pool, config, logger, signal }: UpkeepOptions): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = upkeepIntervalMs;
    try {
      const now = Date.now();
      const { made, dropped } = await maintainPartitions(pool, {
        now,
        weeksAhead,
        retentionDays: config.retentionDays,
      });
      if (made.length > 0 || dropped.length > 0) logger.info({ made, dropped }, 'partitions');
      const forgotten = await forgetDeadLetters(pool, {
        now,
        settledDays: config.deadLetterRetentionDays,
        openDays: config.deadLetterOpenRetentionDays,
      });
      if (forgotten > 0) logger.info({ forgotten }, 'dead letters past their retention');
      await deleteReconciliationEntries(pool, minuteOf(now - config.booksRetentionDays * dayMs));
    } catch (error) {
      // Writers make the partitions they miss by themselves; this only keeps them from having to.
      logger.warn({ reason: String(error) }, 'upkeep could not be done yet');
      pauseMs = retryPauseMs;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
