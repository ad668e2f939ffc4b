import { randomUUID } from 'node:crypto';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import {
  type TopologyLimits,
  declareTopology,
  exchanges,
  fleetwireTopology,
  queues,
  retryQueue,
  retrySteps,
  routingKeys,
} from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type Logger, createLogger } from '@fleetwire/runtime/logger';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect } from 'vitest';
import { readWorkerConfiguration } from '../src/configuration.ts';
import { startWorker } from '../src/start-worker.ts';

const silentLogger = await createLogger({ name: 'test', level: 'silent' });

export type Harness = Awaited<ReturnType<typeof workerHarness>>;

/** A virtual host and a database of its own, a fault proxy in front of each, and functions to start workers, publish and query. */
export async function workerHarness({
  limits = {},
  migrated = true,
  logger = silentLogger,
  databaseUrl: given,
}: { limits?: Partial<TopologyLimits>; migrated?: boolean; logger?: Logger; databaseUrl?: string } = {}) {
  const [amqpUrl, databaseUrl] = [await freshVhost(), given ?? (await freshDatabase())];
  const topology = fleetwireTopology(limits);
  if (migrated) await migrate(databaseUrl);
  const [broker, postgres] = [await proxied(amqpUrl), await proxied(databaseUrl)];
  const connection = openBrokerConnection({ url: amqpUrl, name: 'test', logger, onOpen: declareTopology(topology) });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: 100,
    bytesInFlightMax: 1e9,
    confirmTimeoutMs: 10_000,
  });
  const database = openDatabase({ databaseUrl, poolMax: 2, statementTimeoutMs: 10_000, applicationName: 'test' });
  await publisher.whenWritable();
  cleanUp(async () => {
    await publisher.close();
    await connection.close();
    await database.close();
  });

  const rows = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await database.pool.query<Row>(text, values)).rows;
  return {
    amqpUrl,
    databaseUrl,
    brokerProxy: broker.proxy,
    postgresProxy: postgres.proxy,
    connection,
    rows,
    worker: async (env: Record<string, string> = {}) => {
      const config = readWorkerConfiguration({
        AMQP_URL: broker.url,
        DATABASE_URL: postgres.url,
        PORT: '0',
        HOLD_BASE_MS: '20',
        HOLD_CAP_MS: '200',
        ...env,
      });
      const worker = await startWorker({ config, logger, topology });
      let stopped: Promise<void> | undefined;
      const stop = () => (stopped ??= worker.stop());
      cleanUp(stop);
      return { ...worker, stop };
    },
    pool: database.pool,
    publish: (
      content: Buffer,
      {
        type = envelopeType,
        queue,
        headers,
      }: { type?: string; queue?: string; headers?: Record<string, unknown> } = {},
    ) =>
      publisher.publish({
        exchange: queue === undefined ? exchanges.telemetry : exchanges.default,
        routingKey: queue ?? routingKeys.persist,
        messageId: randomUUID(),
        type,
        ...(headers && { headers }),
        content,
      }),
    stored: async (deviceId: string) =>
      Number((await rows<{ n: string }>('select count(*) as n from telemetry where device_id = $1', [deviceId]))[0]?.n),
    deadLetters: (deviceId: string) =>
      rows<{ seq: string; reason: string; attempts: number; error_code: string; fingerprint: string }>(
        'select * from dead_letters where device_id = $1 order by seq',
        [deviceId],
      ),
    /** Lets every write of readings wait until it is released. */
    blockReadings: async () => {
      const client = await database.pool.connect();
      await client.query('begin');
      await client.query('lock table readings in exclusive mode');
      return {
        release: async () => {
          await client.query('rollback');
          client.release();
        },
      };
    },
    /** Ready messages over all queues, as the broker counts them now. */
    waiting: async () => {
      const channel = await connection.openChannel();
      const names = [queues.persist, queues.dead, ...retrySteps.map(retryQueue)];
      const counts = await Promise.all(names.map(async (name) => (await channel.checkQueue(name)).messageCount));
      await channel.close();
      return counts.reduce((sum, count) => sum + count, 0);
    },
  };
}

export function readings(
  deviceId: string,
  count: number,
  change: (reading: IdentifiedReading) => object = () => ({}),
): IdentifiedReading[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => {
    const reading = {
      deviceId,
      epoch: 'e',
      seq: index + 1,
      ts: now - count + index,
      receivedAt: now,
      metrics: { temperature: index },
    };
    return { ...reading, ...change(reading) };
  });
}

export function envelope(items: readonly IdentifiedReading[]): Buffer {
  return encodeEnvelope({
    id: randomUUID(),
    type: envelopeType,
    schemaVersion: '1.0',
    occurredAt: Date.now(),
    runs: runsOf(items),
  });
}

export async function metric({ url }: { url: string }, line: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((each) => each.startsWith(`${line} `))
      ?.split(' ')[1] ?? 0,
  );
}

export async function untilEmpty(harness: Harness): Promise<void> {
  await eventually(async () => expect(await harness.waiting()).toBe(0));
}

/** A logger, and the messages of what it has logged so far. */
export async function recordingLogger(): Promise<{ readonly logger: Logger; readonly messages: readonly string[] }> {
  const messages: string[] = [];
  const destination = { write: (line: string) => void messages.push((JSON.parse(line) as { msg: string }).msg) };
  return { logger: await createLogger({ name: 'test', destination }), messages };
}
