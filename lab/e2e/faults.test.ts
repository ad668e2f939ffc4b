import { randomUUID } from 'node:crypto';
import { getPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setInterval as every } from 'node:timers/promises';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, exchanges, queues, retryQueue, retrySteps, routingKeys } from '@fleetwire/broker/topology';
import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { encodeEnvelope, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { type DeviceClient, startDeviceClient } from '../fleet/device-client.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/faults/proxied';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { describe, expect, it } from 'vitest';
import { residentBytes } from './resident-bytes.ts';
import { type ServiceName, startService } from './service-process.ts';

const logger = await createLogger({ name: 'e2e', level: 'silent' });
const { privateJwks, publicJwks } = await generateKeySet();
const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
const quickBackoff = { baseMs: 50, capMs: 1_000 };

/** A vhost and a database of its own, with proxies on the way to both; services are real processes. */
async function platform() {
  const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
  await migrate(databaseUrl);
  const [broker, postgres] = [await proxied(amqpUrl), await proxied(databaseUrl)];
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
    start: async (name: ServiceName, env: Record<string, string> = {}, nodeOptions: readonly string[] = []) => {
      const common = { AMQP_URL: broker.url, DATABASE_URL: postgres.url, AUTH_JWKS: JSON.stringify(publicJwks) };
      const service = await startService(name, { ...common, ...env }, nodeOptions);
      await service.untilReady();
      return service;
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
    twice: () => rows('select stream_key, seq from readings group by 1, 2 having count(*) > 1'),
    waiting: async () => {
      const channel = await connection.openChannel();
      const names = [queues.persist, queues.dead, ...retrySteps.map(retryQueue)];
      const counts = await Promise.all(names.map(async (name) => (await channel.checkQueue(name)).messageCount));
      await channel.close();
      return counts.reduce((sum, one) => sum + one, 0);
    },
  };
}

async function device(url: string, deviceId: string, options: object = {}): Promise<DeviceClient> {
  const { token } = await minter.mint({ subject: deviceId, role: 'device', expiresInSeconds: 3_600 });
  const client = startDeviceClient({
    url: url.replace('http', 'ws') + '/ws',
    deviceId,
    token,
    backoff: quickBackoff,
    ...options,
  });
  cleanUp(() => client.stop({ settleTimeoutMs: 0 }));
  return client;
}

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

/** Devices that send one reading every few milliseconds until told to stop. */
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

describe('killing', () => {
  it('the edge before the confirm: nothing was acked, and what is sent again is stored once', async () => {
    const stack = await platform();
    const edge = await stack.start('ingest-ws');
    const thermo = await device(edge.url, 'thermo');
    thermo.send(observation(0));
    await thermo.whenSettled();
    stack.brokerProxy.stall();
    for (let value = 1; value <= 100; value += 1) thermo.send(observation(value));
    await eventually(async () =>
      expect(await edge.metric('fleetwire_ingest_readings_total{result="received"}')).toBe(101),
    );
    expect(thermo.journal.acked.size).toBe(1);
    await edge.kill();
    stack.brokerProxy.refuse();
    stack.brokerProxy.resume();
    edge.launch();
    await thermo.whenSettled();
    expect(thermo.journal.acked.size).toBe(101);
    await stack.start('persistence-worker');
    await eventually(async () => expect(await stack.count()).toBe(101));
    expect(await stack.twice()).toEqual([]);
  });

  it('the worker after its commit and before its acknowledgement: the redelivery stores nothing twice', async () => {
    const stack = await platform();
    const worker = await stack.start('persistence-worker');
    stack.brokerProxy.stall('to-server');
    await stack.publish(readings('d', 50));
    await eventually(async () => expect(await stack.count()).toBe(50));
    await worker.kill();
    // The acknowledgement that was on its way is lost with the connection.
    stack.brokerProxy.refuse();
    stack.brokerProxy.resume();
    await eventually(async () => expect(await stack.waiting()).toBe(1));
    worker.launch();
    await worker.untilReady();
    await eventually(async () =>
      expect(await worker.metric('fleetwire_worker_readings_total{outcome="duplicate"}')).toBe(50),
    );
    expect(await stack.count()).toBe(50);
    await eventually(async () => expect(await stack.waiting()).toBe(0));
  });

  /** A worker that dies of lethal readings, and is started again each time, as a supervisor would. */
  async function mortalWorker(stack: Awaited<ReturnType<typeof platform>>, env: Record<string, string> = {}) {
    const preload = ['--import', fileURLToPath(new URL('lethal-reading.mjs', import.meta.url))];
    const worker = await stack.start('persistence-worker', { BATCH_LINGER_MS: '0', ...env }, preload);
    return {
      until: (assertion: () => Promise<void>) =>
        eventually(
          async () => {
            if (!worker.isRunning) worker.launch();
            await assertion();
          },
          { timeoutMs: 60_000, intervalMs: 50 },
        ),
    };
  }

  it('whoever writes it: a lethal reading ends up as a dead letter, and the innocents in and beside its message are stored', async () => {
    const stack = await platform();
    const worker = await mortalWorker(stack);
    await stack.publish(readings('mixed', 8, (index) => (index === 5 ? { metrics: { lethal: 1 } } : {})));
    for (const bystander of ['b1', 'b2', 'b3']) await stack.publish(readings(bystander, 1));
    await worker.until(async () => {
      expect(await stack.rows('select device_id, seq::int, reason from dead_letters')).toEqual([
        { device_id: 'mixed', seq: 6, reason: 'kills-the-worker' },
      ]);
      expect(await stack.count()).toBe(10);
      expect(await stack.waiting()).toBe(0);
    });
    expect(await stack.rows('select * from suspects')).toEqual([]);
  }, 90_000);

  it('whoever reads it: a lethal message is kept unread, and the innocents beside it are stored', async () => {
    const stack = await platform();
    const worker = await mortalWorker(stack, { LETHAL_AT: 'parse' });
    await stack.publish(readings('unreadable', 2, () => ({ metrics: { lethal: 1 } })));
    for (const bystander of ['b1', 'b2', 'b3']) await stack.publish(readings(bystander, 1));
    await worker.until(async () => {
      expect(await stack.rows('select device_id, reason, payload_encoding from dead_letters')).toEqual([
        { device_id: null, reason: 'kills-the-worker', payload_encoding: 'base64' },
      ]);
      expect(await stack.count()).toBe(3);
      expect(await stack.waiting()).toBe(0);
    });
  }, 90_000);

  it('one of two edges and one of two workers under load: every acked reading is stored once', async () => {
    const stack = await platform();
    const edges = [await stack.start('ingest-ws'), await stack.start('ingest-ws')];
    const workers = [await stack.start('persistence-worker'), await stack.start('persistence-worker')];
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, index) => device(edges[index % 2]!.url, `device-${index}`)),
    );
    const running = new AbortController();
    const sending = load(clients, 5, running.signal);
    await eventually(() => expect(acked(clients)).toBeGreaterThan(200));
    await Promise.all([edges[0]!.kill(), workers[0]!.kill()]);
    const ackedThen = acked(clients);
    await eventually(() => expect(acked(clients)).toBeGreaterThan(ackedThen + 300));
    edges[0]!.launch();
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    await eventually(async () => expect(await stack.count()).toBe(acked(clients)), { timeoutMs: 20_000 });
    expect(await stack.twice()).toEqual([]);
    await eventually(async () => expect(await stack.waiting()).toBe(0));
  });
});

describe('stopping in good order', () => {
  it('each service in turn under load: no nack is final, nothing acked is lost, and all exit with 0', async () => {
    const stack = await platform();
    const services = [
      await stack.start('ingest-ws'),
      await stack.start('persistence-worker'),
      await stack.start('query-api'),
    ] as const;
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, index) => device(services[0].url, `device-${index}`)),
    );
    const running = new AbortController();
    const sending = load(clients, 5, running.signal);
    for (const service of services) {
      const ackedThen = acked(clients);
      await eventually(() => expect(acked(clients)).toBeGreaterThan(ackedThen + 100));
      expect(await service.terminate()).toBe(0);
      service.launch();
      await service.untilReady();
    }
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    expect(clients.reduce((sum, client) => sum + client.journal.refused.size, 0)).toBe(0);
    const attempted = clients.reduce((sum, client) => sum + client.journal.attempted.size, 0);
    expect(acked(clients)).toBe(attempted);
    await eventually(async () => expect(await stack.count()).toBe(attempted), { timeoutMs: 20_000 });
    expect(await stack.twice()).toEqual([]);
  });
});

it('5,000 devices whose edge dies come back at once, and none is refused for good', async () => {
  const stack = await platform();
  const edge = await stack.start('ingest-ws');
  const statistics = newLinkStatistics();
  const clients: DeviceClient[] = [];
  for (let index = 0; index < 5_000; index += 1) {
    clients.push(await device(edge.url, `device-${index}`, { statistics, backoff: { baseMs: 500, capMs: 3_000 } }));
  }
  for (const client of clients) client.send(observation(1));
  await Promise.all(clients.map((client) => client.whenSettled()));
  await edge.kill();
  for (const client of clients) client.send(observation(2));
  edge.launch();
  await Promise.all(clients.map((client) => client.whenSettled()));
  expect(acked(clients)).toBe(10_000);
  expect(clients.filter(({ failure }) => failure !== undefined)).toEqual([]);
  expect(await edge.metric('fleetwire_ingest_connections')).toBe(5_000);
  await Promise.all(clients.map((client) => client.stop()));
}, 120_000);

describe('the database', () => {
  it('away for a minute at 5,000 readings a second: devices are acked all the same, memory stays bounded, and all of it is stored after', async () => {
    const stack = await platform();
    const edge = await stack.start('ingest-ws');
    const worker = await stack.start('persistence-worker');
    const clients = await Promise.all(Array.from({ length: 50 }, (_, index) => device(edge.url, `device-${index}`)));
    const running = new AbortController();
    const sending = load(clients, 10, running.signal);
    await eventually(async () => expect(await stack.count()).toBeGreaterThan(500));
    const before = [residentBytes(edge.pid), residentBytes(worker.pid)];
    stack.postgresProxy.refuse();
    await eventually(async () => expect(await worker.metric('fleetwire_worker_holding')).toBe(1));
    const ackedThen = acked(clients);
    const away = performance.now();
    await eventually(
      () => {
        expect(performance.now() - away).toBeGreaterThan(60_000);
        expect(acked(clients)).toBeGreaterThan(ackedThen + 100_000);
      },
      { timeoutMs: 120_000 },
    );
    running.abort();
    await sending;
    await Promise.all(clients.map((client) => client.whenSettled()));
    const growth = [residentBytes(edge.pid), residentBytes(worker.pid)].map((bytes, index) => bytes - before[index]!);
    expect(Math.max(...growth)).toBeLessThan(100 * 1024 * 1024);
    expect(await stack.rows('select * from dead_letters')).toEqual([]);

    stack.postgresProxy.resume();
    await eventually(async () => expect(await stack.count()).toBe(acked(clients)), {
      timeoutMs: 60_000,
      intervalMs: 500,
    });
    expect(await stack.twice()).toEqual([]);
    await eventually(async () => expect(await stack.waiting()).toBe(0));
  }, 240_000);

  it('takes readings out of order over the borders of partitions, and refuses by name what retention has passed', async () => {
    const stack = await platform();
    await stack.start('persistence-worker', { RETENTION_DAYS: '400' });
    const day = 24 * 60 * 60 * 1_000;
    const now = Date.now();
    const scattered = readings('scattered', 300, (index) => ({ ts: now - ((index * 37) % 300) * day }));
    await stack.publish([...scattered, ...readings('ancient', 2, (index) => ({ ts: now - (500 + index) * day }))]);
    await eventually(async () => expect(await stack.count()).toBe(300), { timeoutMs: 20_000 });
    await eventually(async () =>
      expect(await stack.rows('select device_id, reason from dead_letters')).toEqual([
        { device_id: 'ancient', reason: 'older-than-retention' },
        { device_id: 'ancient', reason: 'older-than-retention' },
      ]),
    );
  });
});

it('a queue that is deleted under the worker is declared again, and consumed', async () => {
  const stack = await platform();
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

it('the worker yields shared cores to the edge, whose devices wait for acks', async () => {
  const stack = await platform();
  const [edge, worker] = [await stack.start('ingest-ws'), await stack.start('persistence-worker')];
  expect(getPriority(worker.pid)).toBeGreaterThan(getPriority(edge.pid));
});
