import { randomUUID } from 'node:crypto';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import type { QueryApiConfiguration } from '../configuration.ts';
import { startReplayRunner, type ReplayRunner } from './replay-runner.ts';
import { startReplayUpkeep } from './replay-upkeep.ts';

const messagesInFlightMax = 200;
const bytesInFlightMax = 16 * 1024 * 1024;
const confirmTimeoutMs = 10_000;

/** Wires what replays need: a broker connection, the runner, and the upkeep. It starts also while the broker or Postgres are away. */
export function startReplays({
  amqpUrl,
  config,
  database,
  logger,
}: {
  readonly amqpUrl: string;
  readonly config: Pick<QueryApiConfiguration, 'replayLeaseMs' | 'automaticReplaysMax' | 'automaticReplayDelayMs'>;
  readonly database: Database;
  readonly logger: Logger;
}): ReplayRunner {
  // It declares nothing: the topology belongs to those who cannot work without it.
  const connection = openBrokerConnection({ url: amqpUrl, name: 'query-api replays', logger });
  connection.opened.catch((error: unknown) => logger.error({ err: error }, 'the broker cannot be used as it is'));
  const publisher = createPublisher(connection, { logger, messagesInFlightMax, bytesInFlightMax, confirmTimeoutMs });
  const runner = startReplayRunner({
    database,
    publisher,
    runner: randomUUID(),
    leaseMs: config.replayLeaseMs,
    logger,
  });
  const upkeep = startReplayUpkeep({
    database,
    automaticReplaysMax: config.automaticReplaysMax,
    automaticReplayDelayMs: config.automaticReplayDelayMs,
    onReplay: () => runner.wake(),
    logger,
  });
  return {
    wake: () => runner.wake(),
    stop: async () => {
      await upkeep.stop();
      await runner.stop();
      await publisher.close();
      await connection.close();
    },
  };
}
