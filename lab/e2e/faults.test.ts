import { randomUUID } from 'node:crypto';
import { getPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setInterval as every } from 'node:timers/promises';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, exchanges, queues, retryQueue, retrySteps, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createLogger } from '@fleetwire/runtime/logger';
import { type DeviceClient, startDeviceClient } from '../fleet/device-client.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { openDatabase } from '@fleetwire/store/database';
import type { ServiceName, ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { describe, expect, it } from 'vitest';
import { residentBytesOf } from '../bench/process-usage.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

const logger = await createLogger({ name: 'e2e', level: 'silent' });
const quickBackoff = { baseMs: 50, capMs: 1_000 };
/**
 * The sizes of the promises are a minute and 5,000 devices, which take a minute and a half:
 * `OUTAGE_SECONDS=60 RECONNECTING_DEVICES=5000 npm test -- lab/e2e/faults`.
 */
const outageSeconds = Number(process.env['OUTAGE_SECONDS'] ?? 15);
const reconnectingDevices = Number(process.env['RECONNECTING_DEVICES'] ?? 1_500);

/** A platform on a vhost and a database of its own, with fault proxies in front of both; no service runs yet. */
async function startStack() {
  const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
  const [broker, postgres] = [await proxied(amqpUrl), await proxied(databaseUrl)];
  const platform = await createPlatform({ amqpUrl: broker.url, databaseUrl: postgres.url });
  const connection = openBrokerConnection({ url: amqpUrl, name: 'e2e', logger, onOpen: declareTopology() });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: 100,
    bytesInFlightMax: 1e9,
    confirmTimeoutMs: 10_000,
  });
  await publisher.whenWritable();
  const database = openDatabase({ databaseUrl, poolMax: 2, statementTimeoutMs: 30_000, applicationName: 'e2e' });
  cleanUp(async () => {
    await publisher.close();
    await connection.close();
    await database.close();
  });
  const rows = async <Row extends object>(text: string): Promise<Row[]> => (await database.pool.query<Row>(text)).rows;

  return {
    brokerProxy: broker.proxy,
    postgresProxy: postgres.proxy,
    connection,
    rows,
    start: (service: ServiceName, env: NodeJS.ProcessEnv = {}, nodeOptions: readonly string[] = []) =>
      platform.start(service, { env, nodeOptions }),
    device: async (ingest: ServiceProcess, deviceId: string, options: object = {}): Promise<DeviceClient> => {
      const client = startDeviceClient({
        url: webSocketUrlOf(ingest),
        deviceId,
        token: await platform.keys.token(deviceId, 'device'),
        backoff: quickBackoff,
        ...options,
      });
      cleanUp(() => client.stop({ settleTimeoutMs: 0 }));
      return client;
    },
    publish: (readings: readonly IdentifiedReading[]) =>
      publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: randomUUID(),
        type: envelopeType,
        content: encodeEnvelope({
          id: randomUUID(),
          type: envelopeType,
          schemaVersion: '1.0',
          occurredAt: Date.now(),
          runs: runsOf(readings),
        }),
      }),
    count: async () => (await rows<{ n: number }>('select count(*)::int as n from readings'))[0]?.n ?? 0,
    storedTwice: () => rows('select stream_key, seq from readings group by 1, 2 having count(*) > 1'),
    queuedMessages: async () => {
      const channel = await connection.openChannel();
      const names = [queues.persist, queues.dead, ...retrySteps.map(retryQueue)];
      const counts = await Promise.all(names.map(async (name) => (await channel.checkQueue(name)).messageCount));
      await channel.close();
      return counts.reduce((sum, one) => sum + one, 0);
    },
  };
}

type Stack = Awaited<ReturnType<typeof startStack>>;

function observation(value: number) {
  return { ts: Date.now(), metrics: { value } };
}

function readings(
  deviceId: string,
  count: number,
  change: (index: number) => object = () => ({}),
): IdentifiedReading[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => ({
    deviceId,
    epoch: 'e',
    seq: index + 1,
    ts: now - count + index,
    receivedAt: now,
    metrics: { index },
    ...change(index),
  }));
}

/** Devices that send one reading every few milliseconds until the signal aborts. */
async function load(clients: readonly DeviceClient[], everyMs: number, signal: AbortSignal): Promise<void> {
  let value = 0;
  try {
    for await (const _ of every(everyMs, undefined, { signal })) {
      for (const client of clients) client.send(observation((value += 1)));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

const acked = (clients: readonly DeviceClient[]) => clients.reduce((sum, client) => sum + client.journal.acked.size, 0);

describe('a killed process', () => {
  it('ingest-ws, before the confirm: nothing was acked, and the resent readings are stored once', async () => {
    const stack = await startStack();
    const ingest = await stack.start('ingest-ws');
    const thermo = await stack.device(ingest, 'thermo');
    thermo.send(observation(0));
    await thermo.whenSettled();
    stack.brokerProxy.stall();
    for (let value = 1; value <= 100; value += 1) thermo.send(observation(value));
    await eventually(async () =>
      expect(await ingest.metric('fleetwire_ingest_readings_total{result="received"}')).toBe(101),
    );
    expect(thermo.journal.acked.size).toBe(1);
    await ingest.kill();
    stack.brokerProxy.refuse();
    stack.brokerProxy.resume();
    ingest.start();
    await thermo.whenSettled();
    expect(thermo.journal.acked.size).toBe(101);
    await stack.start('persistence-worker');
    await eventually(async () => expect(await stack.count()).toBe(101));
    expect(await stack.storedTwice()).toEqual([]);
  });

  it('persistence-worker, between its commit and its ack: the redelivered batch is stored once', async () => {
    const stack = await startStack();
    const worker = await stack.start('persistence-worker');
    stack.brokerProxy.stall('to-server');
    await stack.publish(readings('d', 50));
    await eventually(async () => expect(await stack.count()).toBe(50));
    await worker.kill();
    // The acknowledgement that was on its way is lost with the connection.
    stack.brokerProxy.refuse();
    stack.brokerProxy.resume();
    await eventually(async () => expect(await stack.queuedMessages()).toBe(1));
    worker.start();
    await worker.untilReady();
    await eventually(async () =>
      expect(await worker.metric('fleetwire_worker_readings_total{outcome="duplicate"}')).toBe(50),
    );
    expect(await stack.count()).toBe(50);
    await eventually(async () => expect(await stack.queuedMessages()).toBe(0));
  });

  /** A worker that crashes on poison readings, and is started again each time, as by a supervisor. */
  async function crashingWorker(stack: Stack, env: Record<string, string> = {}) {
    const preload = ['--import', fileURLToPath(new URL('poison-reading.mjs', import.meta.url))];
    const worker = await stack.start('persistence-worker', { BATCH_LINGER_MS: '0', ...env }, preload);
    return {
      until: (assertion: () => Promise<void>) =>
        eventually(
          async () => {
            if (!worker.isRunning) worker.start();
            await assertion();
          },
          { intervalMs: 50 },
        ),
    };
  }

  it('a poison reading that crashes the worker when it is stored is dead-lettered; the rest of its envelope and the queue are stored', async () => {
    const stack = await startStack();
    const worker = await crashingWorker(stack);
    await stack.publish(readings('mixed', 8, (index) => (index === 5 ? { metrics: { poison: 1 } } : {})));
    for (const other of ['b1', 'b2', 'b3']) await stack.publish(readings(other, 1));
    await worker.until(async () => {
      expect(await stack.rows('select device_id, seq::int, reason from dead_letters')).toEqual([
        { device_id: 'mixed', seq: 6, reason: 'kills-the-worker' },
      ]);
      expect(await stack.count()).toBe(10);
      expect(await stack.queuedMessages()).toBe(0);
    });
    expect(await stack.rows('select * from suspects')).toEqual([]);
  });

  it('a poison message that crashes the worker when it is parsed is dead-lettered unparsed; the rest of the queue is stored', async () => {
    const stack = await startStack();
    const worker = await crashingWorker(stack, { POISON_AT: 'parse' });
    await stack.publish(readings('unreadable', 2, () => ({ metrics: { poison: 1 } })));
    for (const other of ['b1', 'b2', 'b3']) await stack.publish(readings(other, 1));
    await worker.until(async () => {
      expect(await stack.rows('select device_id, reason, payload_encoding from dead_letters')).toEqual([
        { device_id: null, reason: 'kills-the-worker', payload_encoding: 'base64' },
      ]);
      expect(await stack.count()).toBe(3);
      expect(await stack.queuedMessages()).toBe(0);
    });
  });

  it('one of two ingest-ws and one of two workers, under load: every acked reading is stored once', async () => {
    const stack = await startStack();
    const ingests = [await stack.start('ingest-ws'), await stack.start('ingest-ws')];
    const workers = [await stack.start('persistence-worker'), await stack.start('persistence-worker')];
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, index) => stack.device(ingests[index % 2]!, `device-${index}`)),
    );
    const running = new AbortController();
    const sending = load(clients, 5, running.signal);
    await eventually(() => expect(acked(clients)).toBeGreaterThan(200));
    await Promise.all([ingests[0]!.kill(), workers[0]!.kill()]);
    const ackedThen = acked(clients);
    await eventually(() => expect(acked(clients)).toBeGreaterThan(ackedThen + 300));
    ingests[0]!.start();
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    await eventually(async () => expect(await stack.count()).toBe(acked(clients)));
    expect(await stack.storedTwice()).toEqual([]);
    await eventually(async () => expect(await stack.queuedMessages()).toBe(0));
  });
});

describe('an orderly stop', () => {
  it('of each service in turn, under load: no reading is refused or lost, and all exit with 0', async () => {
    const stack = await startStack();
    const services = [
      await stack.start('ingest-ws'),
      await stack.start('persistence-worker'),
      await stack.start('query-api'),
    ] as const;
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, index) => stack.device(services[0], `device-${index}`)),
    );
    const running = new AbortController();
    const sending = load(clients, 5, running.signal);
    for (const service of services) {
      const ackedThen = acked(clients);
      await eventually(() => expect(acked(clients)).toBeGreaterThan(ackedThen + 100));
      expect(await service.stop()).toEqual({ code: 0, signal: null });
      service.start();
      await service.untilReady();
    }
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    expect(clients.reduce((sum, client) => sum + client.journal.refused.size, 0)).toBe(0);
    const attempted = clients.reduce((sum, client) => sum + client.journal.attempted.size, 0);
    expect(acked(clients)).toBe(attempted);
    await eventually(async () => expect(await stack.count()).toBe(attempted));
    expect(await stack.storedTwice()).toEqual([]);
  });
});

it(`${reconnectingDevices} devices reconnect immediately after their ingest-ws was killed, and none is refused for good`, async () => {
  const stack = await startStack();
  const ingest = await stack.start('ingest-ws');
  const statistics = newLinkStatistics();
  const clients: DeviceClient[] = [];
  for (let index = 0; index < reconnectingDevices; index += 1) {
    clients.push(await stack.device(ingest, `device-${index}`, { statistics, backoff: { baseMs: 500, capMs: 3_000 } }));
  }
  for (const client of clients) client.send(observation(1));
  await Promise.all(clients.map((client) => client.whenSettled()));
  await ingest.kill();
  for (const client of clients) client.send(observation(2));
  ingest.start();
  await Promise.all(clients.map((client) => client.whenSettled()));
  expect(acked(clients)).toBe(2 * reconnectingDevices);
  expect(clients.filter(({ failure }) => failure !== undefined)).toEqual([]);
  await eventually(async () => expect(await ingest.metric('fleetwire_ingest_connections')).toBe(reconnectingDevices));
  await Promise.all(clients.map((client) => client.stop()));
});

describe('Postgres', () => {
  it(`down for ${outageSeconds} s at 5,000 readings/s: devices are still acked, memory stays bounded, and every reading is stored afterwards`, async () => {
    const stack = await startStack();
    const ingest = await stack.start('ingest-ws');
    const worker = await stack.start('persistence-worker');
    const clients = await Promise.all(
      Array.from({ length: 50 }, (_, index) => stack.device(ingest, `device-${index}`)),
    );
    const running = new AbortController();
    const sending = load(clients, 10, running.signal);
    await eventually(async () => expect(await stack.count()).toBeGreaterThan(500));
    const before = [await residentBytesOf(ingest.pid), await residentBytesOf(worker.pid)];
    stack.postgresProxy.refuse();
    await eventually(async () => expect(await worker.metric('fleetwire_worker_holding')).toBe(1));
    const ackedThen = acked(clients);
    const away = performance.now();
    await eventually(
      () => {
        expect(performance.now() - away).toBeGreaterThan(outageSeconds * 1_000);
        expect(acked(clients)).toBeGreaterThan(ackedThen + outageSeconds * 1_667);
      },
      { timeoutMs: 2 * outageSeconds * 1_000 + 60_000 },
    );
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    const growth = [await residentBytesOf(ingest.pid), await residentBytesOf(worker.pid)].map(
      (bytes, index) => bytes - before[index]!,
    );
    expect(Math.max(...growth)).toBeLessThan(100 * 1024 * 1024);
    expect(await stack.rows('select * from dead_letters')).toEqual([]);

    stack.postgresProxy.resume();
    await eventually(async () => expect(await stack.count()).toBe(acked(clients)), {
      timeoutMs: 60_000,
      intervalMs: 500,
    });
    expect(await stack.storedTwice()).toEqual([]);
    await eventually(async () => expect(await stack.queuedMessages()).toBe(0));
  });

  it('stores readings out of order across partitions; readings older than the retention become dead letters', async () => {
    const stack = await startStack();
    await stack.start('persistence-worker', { RETENTION_DAYS: '400' });
    const day = 24 * 60 * 60 * 1_000;
    const now = Date.now();
    const scattered = readings('scattered', 300, (index) => ({ ts: now - ((index * 37) % 300) * day }));
    await stack.publish([...scattered, ...readings('ancient', 2, (index) => ({ ts: now - (500 + index) * day }))]);
    await eventually(async () => expect(await stack.count()).toBe(300));
    await eventually(async () =>
      expect(await stack.rows('select device_id, reason from dead_letters')).toEqual([
        { device_id: 'ancient', reason: 'older-than-retention' },
        { device_id: 'ancient', reason: 'older-than-retention' },
      ]),
    );
  });
});

it('the worker declares a deleted queue again and consumes it', async () => {
  const stack = await startStack();
  const worker = await stack.start('persistence-worker');
  const channel = await stack.connection.openChannel();
  await channel.deleteQueue(queues.persist);
  await channel.close();
  await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
  await eventually(async () => {
    await stack.publish(readings('after', 5));
    expect(await stack.count()).toBe(5);
  });
});

it('the worker has a lower CPU priority than ingest-ws, whose devices wait for acks', async () => {
  const stack = await startStack();
  const [ingest, worker] = [await stack.start('ingest-ws'), await stack.start('persistence-worker')];
  expect(getPriority(worker.pid)).toBeGreaterThan(getPriority(ingest.pid));
});
