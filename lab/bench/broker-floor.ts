import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerConnection, openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, exchanges, fleetwireTopology, queues, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import { fleetReadings } from './workload.ts';

const envelopesPrepared = 200;
const countAttemptsMax = 50;
const countIntervalMs = 100;
/** As ingest-ws has it. */
const messagesInFlightMax = 64;

/**
 * What RabbitMQ takes when it is asked for nothing else: envelopes as the platform has made them, published and confirmed on the quorum
 * queue, made beforehand. Nobody consumes.
 * @returns readings per second
 */
export async function measureBrokerFloor(
  amqpUrl: string,
  options: { devices: number; readingsPerFrame: number; readingsPerEnvelope: number; seconds: number; logger: Logger },
): Promise<number> {
  const { devices, readingsPerFrame, readingsPerEnvelope, logger } = options;
  const contents = prepare(devices, readingsPerFrame, readingsPerEnvelope);
  const connection = openBrokerConnection({
    url: amqpUrl,
    name: 'bench',
    logger,
    onOpen: declareTopology(fleetwireTopology()),
  });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax,
    bytesInFlightMax: 64 * 1024 * 1024,
    confirmTimeoutMs: 30_000,
  });
  try {
    await publisher.whenWritable();
    const startedAt = performance.now();
    const endsAt = startedAt + options.seconds * 1_000;
    const confirms = new Set<Promise<void>>();
    let published = 0;
    while (performance.now() < endsAt) {
      await publisher.whenWritable();
      const content = contents[published % contents.length]!;
      const confirm = publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: randomUUID(),
        type: envelopeType,
        content,
      });
      confirms.add(confirm);
      // A failure is thrown where all are awaited.
      confirm.then(
        () => confirms.delete(confirm),
        () => undefined,
      );
      published += 1;
    }
    await Promise.all(confirms);
    const seconds = (performance.now() - startedAt) / 1_000;
    await assertQueued(connection, published);
    return (published * readingsPerEnvelope) / seconds;
  } finally {
    await publisher.close();
    await connection.close();
  }
}

/** The queue counts what is published and confirmed; its statistics follow after a moment. */
async function assertQueued(connection: BrokerConnection, expected: number): Promise<void> {
  const channel = await connection.openChannel();
  let messageCount = 0;
  for (let attempt = 0; attempt < countAttemptsMax; attempt += 1) {
    ({ messageCount } = await channel.checkQueue(queues.persist));
    if (messageCount === expected) return await channel.close();
    await sleep(countIntervalMs);
  }
  throw new Error(`the queue holds ${messageCount} envelopes of the ${expected} that were confirmed`);
}

function prepare(devices: number, readingsPerFrame: number, readingsPerEnvelope: number): Buffer[] {
  const readings = fleetReadings(devices, readingsPerFrame, Date.now());
  return Array.from({ length: envelopesPrepared }, () => {
    const runs = runsOf(Array.from({ length: readingsPerEnvelope }, () => readings.next().value));
    return encodeEnvelope({
      id: randomUUID(),
      type: envelopeType,
      schemaVersion: envelopeSchemaVersion,
      occurredAt: Date.now(),
      runs,
    });
  });
}
