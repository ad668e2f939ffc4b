import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/service-kit/logger';
import type { Database } from '@fleetwire/store/database';
import { maintainPartitions } from '@fleetwire/store/partitions';

const weeksAhead = 2;
const upkeepIntervalMs = 60 * 60 * 1_000;
const retryPauseMs = 10_000;

export type PartitionUpkeepOptions = {
  readonly pool: Database['pool'];
  readonly retentionDays: number | undefined;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/** Makes partitions ahead and drops those past retention, now and every hour. Resolves when the signal is aborted. */
export async function startPartitionUpkeep({
  pool,
  retentionDays,
  logger,
  signal,
}: PartitionUpkeepOptions): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = upkeepIntervalMs;
    try {
      const { made, dropped } = await maintainPartitions(pool, { now: Date.now(), weeksAhead, retentionDays });
      if (made.length > 0 || dropped.length > 0) logger.info({ made, dropped }, 'partitions');
    } catch (error) {
      // Writers make what they miss by themselves; this only keeps them from having to.
      logger.warn({ reason: String(error) }, 'partitions could not be maintained yet');
      pauseMs = retryPauseMs;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
