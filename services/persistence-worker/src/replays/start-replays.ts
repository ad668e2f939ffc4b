import { randomUUID } from 'node:crypto';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import type { Logger } from '@fleetwire/runtime/logger';
import { openDatabase } from '@fleetwire/store/database';
import type { WorkerConfiguration } from '../configuration.ts';
import { maintainReplays } from './maintain-replays.ts';
import { runReplays } from './run-replays.ts';

/** Publishing, renewing the lease, settling and looking for automatic replays: none waits for another's connection. */
const connectionsMax = 4;
/** Statements here take milliseconds; a drain must not wait as long as a batch may take. */
const statementTimeoutMs = 5_000;
const messagesInFlightMax = 200;
const bytesInFlightMax = 16 * 1024 * 1024;

/**
 * Runs the replays of dead letters that query-api writes as jobs into Postgres. Starts also while RabbitMQ or Postgres are away.
 * Connections to Postgres and the window of unconfirmed messages are its own, so that replays take none from storing.
 */
export function startReplays({
  connection,
  config,
  logger,
}: {
  readonly connection: BrokerConnection;
  readonly config: WorkerConfiguration;
  readonly logger: Logger;
}): { stop(): Promise<void> } {
  const database = openDatabase({
    databaseUrl: config.databaseUrl,
    poolMax: connectionsMax,
    statementTimeoutMs,
    applicationName: 'persistence-worker replays',
    onConnectionLost: (error) => logger.warn({ err: error }, 'lost a connection to Postgres'),
  });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax,
    bytesInFlightMax,
    confirmTimeoutMs: config.confirmTimeoutMs,
  });
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = Promise.all([
    runReplays({ database, publisher, runner: randomUUID(), leaseMs: config.replayLeaseMs, logger, signal }),
    maintainReplays({
      database,
      automaticReplaysMax: config.automaticReplaysMax,
      automaticReplayDelayMs: config.automaticReplayDelayMs,
      logger,
      signal,
    }),
  ]);
  return {
    // 1 confirmed messages are noted and the job is handed back · 2 the channel closes · 3 the pool closes
    stop: async () => {
      stopping.abort(new Error('the worker is stopping'));
      await running;
      await publisher.close();
      await database.close();
    },
  };
}
