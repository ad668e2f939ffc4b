import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@fleetwire/runtime/logger';
import type { BatchWriter } from '@fleetwire/store/batch-writer';
import { deleteCommands } from '@fleetwire/store/commands/retention';
import type { Database } from '@fleetwire/store/database';
import { minuteOf } from '@fleetwire/contracts/edge-report';
import { deleteReconciliationEntries } from '@fleetwire/store/reconciliation';
import { deleteExpiredDeadLetters } from '@fleetwire/store/dead-letters/retention';
import { forgetStreams } from '@fleetwire/store/forgotten-streams';
import { maintainPartitions } from '@fleetwire/store/partitions';
import { deletePositions } from '@fleetwire/store/positions/edges';
import { deleteConnections } from '@fleetwire/store/presence/write-presence';
import { deleteExpiredSessions } from '@fleetwire/store/sessions';
import type { WorkerConfiguration } from './configuration.ts';

const weeksAhead = 2;
const intervalMs = 60 * 60 * 1_000;
const dayMs = 24 * 60 * 60 * 1_000;
const retryPauseMs = 10_000;

export interface MaintenanceOptions {
  readonly pool: Database['pool'];
  readonly shapes: BatchWriter['shapes'];
  /** Resolves when readings may be written to the database: its settings may have changed without a lost connection. */
  readonly verify: () => Promise<void>;
  readonly config: Pick<
    WorkerConfiguration,
    | 'retentionDays'
    | 'deadLetterRetentionDays'
    | 'deadLetterOpenRetentionDays'
    | 'reconciliationRetentionDays'
    | 'positionsRetentionDays'
    | 'connectionsRetentionDays'
    | 'commandsRetentionDays'
  >;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Creates upcoming partitions, drops those past retention, and deletes expired streams, dead letters, reconciliation entries, positions,
 * connections, commands and sessions, now and every hour.
 * Resolves when the signal is aborted.
 */
export async function runMaintenance({
  pool,
  shapes,
  verify,
  config,
  logger,
  signal,
}: MaintenanceOptions): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = intervalMs;
    // By itself, because a lasting failure of the maintenance must not switch it off.
    await verify().catch((error: unknown) => {
      if (!signal.aborted) logger.warn({ reason: String(error) }, 'failed to verify the settings of Postgres');
    });
    try {
      const now = Date.now();
      try {
        const { created, dropped } = await maintainPartitions(pool, {
          now,
          weeksAhead,
          retentionDays: config.retentionDays,
          signal,
        });
        if (created.length > 0 || dropped.length > 0)
          logger.info({ created, dropped }, 'created or dropped partitions');
      } catch (error) {
        // Retention waits for the builder and for open transactions: the rest does not wait for it.
        if (!signal.aborted)
          logger.warn({ reason: String(error), retryPauseMs }, 'failed to maintain partitions; retrying');
        pauseMs = retryPauseMs;
      }
      if (config.retentionDays !== undefined) {
        const forgotten = await forgetStreams(pool, { now, retentionDays: config.retentionDays });
        if (forgotten > 0) logger.info({ forgotten }, 'deleted streams past retention from the sequence ledger');
      }
      const deleted = await deleteExpiredDeadLetters(pool, {
        now,
        settledDays: config.deadLetterRetentionDays,
        openDays: config.deadLetterOpenRetentionDays,
      });
      if (deleted > 0) logger.info({ deleted }, 'deleted expired dead letters');
      await deleteReconciliationEntries(pool, minuteOf(now - config.reconciliationRetentionDays * dayMs));
      await deletePositions(pool, config.positionsRetentionDays);
      await deleteConnections(pool, config.connectionsRetentionDays);
      await deleteCommands(pool, config.commandsRetentionDays);
      await deleteExpiredSessions(pool);
      await shapes.countAgain();
    } catch (error) {
      // Not urgent: a writer creates a missing partition itself, at the cost of a delay.
      logger.warn({ reason: String(error), retryPauseMs }, 'maintenance failed; retrying');
      pauseMs = retryPauseMs;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}
