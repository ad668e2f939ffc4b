import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { advancePositions } from '@fleetwire/store/positions/edges';

const intervalMs = 1_000;
const retryPauseMs = 5_000;

/**
 * Advances the settled positions of the edges, so that readers look at few rows, and closes edges that have ended. Resolves when the signal is
 * aborted.
 */
export async function advancePositionsEachSecond({
  pool,
  isConsuming,
  logger,
  signal,
}: {
  readonly pool: Database['pool'];
  /** Messages of the edges come to this worker. */
  readonly isConsuming: () => boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  while (!signal.aborted) {
    const pauseMs = await advancePositions(pool, isConsuming()).then(
      (closed) => {
        for (const { instanceId, settled, hasReported } of closed)
          if (!hasReported) logger.warn({ instanceId, settled }, 'edge closed without a last report');
        return intervalMs;
      },
      (error: unknown) => {
        logger.warn({ reason: String(error), retryPauseMs }, 'failed to advance positions; retrying');
        return retryPauseMs;
      },
    );
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
