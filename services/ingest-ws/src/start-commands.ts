import type { BrokerConnection } from '@fleetwire/broker/connection';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { createPublisher } from '@fleetwire/broker/publisher';
import { edgeRoutingKey, exchanges, routingKeys } from '@fleetwire/broker/topology';
import type { Logger } from '@fleetwire/runtime/logger';
import { CommandOutcomes } from './command-outcomes.ts';
import type { IngestConfiguration } from './configuration.ts';
import type { DeviceHolders } from './device-holders.ts';
import { EdgeCommands } from './edge-commands.ts';
import type { IngestMetrics } from './metrics.ts';

export interface RunningCommands {
  readonly commands: EdgeCommands;
  /** Takes no further commands, and awaits the confirms of outcomes for at most `timeoutMs`. */
  finish(timeoutMs: number): Promise<void>;
}

const mebibyte = 1024 * 1024;
const queueMessagesMax = 10_000;
const queueBytesMax = 64 * mebibyte;
const outcomesInFlightMax = 1_000;
const outcomeBytesInFlightMax = 4 * mebibyte;

/** Connects commands with the broker: a queue of this edge's own, and a channel for outcomes, which readings do not delay. */
export function startCommands({
  connection,
  edge,
  holders,
  config,
  metrics,
  logger,
}: {
  connection: BrokerConnection;
  edge: string;
  holders: DeviceHolders;
  config: IngestConfiguration;
  metrics: IngestMetrics;
  logger: Logger;
}): RunningCommands {
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: outcomesInFlightMax,
    bytesInFlightMax: outcomeBytesInFlightMax,
    confirmTimeoutMs: config.confirmTimeoutMs,
  });
  const outcomes = new CommandOutcomes({
    edge,
    publisher,
    bytesMax: config.commandOutcomesBytesMax,
    metrics,
    logger,
  });
  const commands = new EdgeCommands({
    holders,
    outcomes,
    pendingMax: config.commandsPendingMax,
    queuedBytesMax: config.outboundBytesMax / 2,
    metrics,
    logger,
  });
  const queue = openPrivateQueue(connection, {
    logger,
    namePrefix: `commands.e.${edge}`,
    exchange: exchanges.commands,
    routingKeys: [edgeRoutingKey(edge), routingKeys.edges],
    messagesMax: queueMessagesMax,
    bytesMax: queueBytesMax,
    overflow: 'reject-publish',
    onMessage: (content, routingKey) => commands.receive(content, routingKey === routingKeys.edges),
    onBound: () => logger.debug({ edge }, 'commands are received'),
  });
  return {
    commands,
    finish: async (timeoutMs) => {
      await queue.close();
      await outcomes.finish(timeoutMs);
      commands.close();
      await publisher.close();
    },
  };
}
