import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerConnection, openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, exchanges, fleetwireTopology, queues, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import { percentile } from './figure.ts';
import { fleetReadings } from './workload.ts';

const envelopesPrepared = 200;
const countAttemptsMax = 50;
const countIntervalMs = 100;
/** The default of ingest-ws. */
const messagesInFlightMax = 64;

interface EnvelopeOptions {
  readonly devices: number;
  readonly readingsPerFrame: number;
  readonly readingsPerEnvelope: number;
  readonly logger: Logger;
}

/**
 * What RabbitMQ accepts when nothing else runs: envelopes like those of the platform, encoded beforehand, published to the quorum queue and
 * confirmed, as fast as confirms arrive. There is no consumer.
 * @returns readings per second
 */
export async function measureBrokerFloor(
  amqpUrl: string,
  options: EnvelopeOptions & { readonly seconds: number },
): Promise<number> {
  await using bare = openBarePublisher(amqpUrl, options);
  await bare.whenWritable();
  const startedAt = performance.now();
  const endsAt = startedAt + options.seconds * 1_000;
  const confirms = new Set<Promise<void>>();
  let published = 0;
  while (performance.now() < endsAt) {
    await bare.whenWritable();
    const confirm = bare.publish();
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
  await assertQueued(bare.connection, published);
  return (published * options.readingsPerEnvelope) / seconds;
}

/**
 * From publishing to the confirm, for the same envelopes at an even rate.
 * @returns for each stretch
 */
export async function measureConfirmLatency(
  amqpUrl: string,
  options: EnvelopeOptions & {
    readonly messagesPerSecond: number;
    readonly stretches: number;
    readonly stretchSeconds: number;
  },
): Promise<{ readonly p50Ms: number; readonly p99Ms: number }[]> {
  const { messagesPerSecond, stretches, stretchSeconds } = options;
  await using bare = openBarePublisher(amqpUrl, options);
  const messages = Math.ceil(messagesPerSecond * stretchSeconds);
  const latencies = [];
  for (let stretch = 0; stretch < stretches; stretch += 1) {
    const startedAt = performance.now();
    const confirms: Promise<number>[] = [];
    for (let message = 0; message < messages; message += 1) {
      const waitMs = startedAt + (message * 1_000) / messagesPerSecond - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      await bare.whenWritable();
      const publishedAt = performance.now();
      confirms.push(bare.publish().then(() => performance.now() - publishedAt));
    }
    const milliseconds = await Promise.all(confirms);
    latencies.push({ p50Ms: percentile(milliseconds, 50), p99Ms: percentile(milliseconds, 99) });
  }
  return latencies;
}

interface BarePublisher extends AsyncDisposable {
  readonly connection: BrokerConnection;
  whenWritable(): Promise<void>;
  /** Publishes the next of the prepared envelopes. Resolves with its confirm. */
  publish(): Promise<void>;
}

function openBarePublisher(amqpUrl: string, { logger, ...options }: EnvelopeOptions): BarePublisher {
  const contents = prepare(options);
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
  let published = 0;
  return {
    connection,
    whenWritable: () => publisher.whenWritable(),
    publish: () => {
      const content = contents[published % contents.length]!;
      published += 1;
      return publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: randomUUID(),
        type: envelopeType,
        content,
      });
    },
    [Symbol.asyncDispose]: async () => {
      await publisher.close();
      await connection.close();
    },
  };
}

/** A queue's message count lags behind its confirms. */
async function assertQueued(connection: BrokerConnection, expected: number): Promise<void> {
  const channel = await connection.openChannel();
  let messageCount = 0;
  for (let attempt = 0; attempt < countAttemptsMax; attempt += 1) {
    ({ messageCount } = await channel.checkQueue(queues.persist));
    if (messageCount === expected) return await channel.close();
    await sleep(countIntervalMs);
  }
  throw new Error(`the queue holds ${messageCount} envelopes instead of the ${expected} that were confirmed`);
}

function prepare({ devices, readingsPerFrame, readingsPerEnvelope }: Omit<EnvelopeOptions, 'logger'>): Buffer[] {
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
