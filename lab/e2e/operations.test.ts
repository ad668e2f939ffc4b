import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { declareTopology, queues } from '@fleetwire/broker/topology';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { runFleet } from '../fleet/fleet.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { describe, expect, inject, it } from 'vitest';
import { startService } from './platform.ts';

interface Queue {
  name: string;
  ready: number;
  unacked: number | null;
  readingsEstimate: number | null;
  consumers: number;
  oldest: { ageSeconds: number | null; atLeast: boolean; source: string | null };
  drain: { seconds: number | null; reason: string };
  bounds: { messagesMax: number | null };
  bottleneck: { verdict: string; why: string };
}
interface Queues {
  source: string;
  workers: { answering: number };
  data: Queue[];
}
type Balance = Record<
  'received' | 'stored' | 'duplicate' | 'rejected' | 'deadLettered' | 'inFlight' | 'missing' | 'surplus',
  number
> & { state: string };
interface Ledger {
  explanation: string;
  total: Balance;
  edges: { instanceId: string; state: string }[];
}

const { privateJwks, publicJwks } = await generateKeySet();
const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
const logger = await createLogger({ name: 'e2e', level: 'silent' });

/** Every service as a process, with fault proxies in front of Postgres and the management API. */
async function operations() {
  const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
  await migrate(databaseUrl);
  const postgres = await proxied(databaseUrl);
  const management = await proxied(inject('managementUrl'));
  const env = {
    AUTH_JWKS: JSON.stringify(publicJwks),
    AMQP_URL: amqpUrl,
    DATABASE_URL: postgres.url,
    REPORT_INTERVAL_MS: '300',
  };
  const ingest = await startService('ingest-ws', env);
  const worker = await startService('persistence-worker', { ...env, RETENTION_DAYS: '365' });
  const api = await startService('query-api', {
    ...env,
    MANAGEMENT_URL: management.url,
    WORKER_URLS: worker.url,
    PROBE_INTERVAL_MS: '200',
    STATEMENT_TIMEOUT_MS: '800',
    BREAKER_TIMEOUT_MS: '1000',
    BREAKER_RESET_MS: '500',
  });
  await Promise.all([ingest, worker, api].map((service) => service.untilReady()));

  const database = openDatabase({ databaseUrl, poolMax: 2, statementTimeoutMs: 30_000, applicationName: 'e2e' });
  const connection = openBrokerConnection({ url: amqpUrl, name: 'e2e', logger, onOpen: declareTopology() });
  await connection.opened;
  cleanUp(async () => {
    await connection.close();
    await database.close();
  });
  const mint = async (subject: string, role: string) =>
    (await minter.mint({ subject, role, expiresInSeconds: 3_600 })).token;
  const operator = await mint('olga', 'operator');
  const get = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${api.url}/api/v1${path}`, { headers: { authorization: `Bearer ${operator}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  return {
    ingest,
    worker,
    api,
    postgresProxy: postgres.proxy,
    managementProxy: management.proxy,
    get,
    queues: () => get<Queues>('/queues'),
    persist: async (): Promise<Queue> => {
      const { data } = await get<Queues>('/queues');
      const queue = data.find(({ name }) => name === queues.persist);
      if (queue === undefined) throw new Error('/queues does not list the work queue');
      return queue;
    },
    ledger: (query = '') => get<Ledger>(`/ledger?from=now-30m${query}`),
    sql: <Row extends object>(text: string) => database.pool.query<Row>(text),
    post: async (deviceId: string, body: unknown): Promise<number> => {
      const response = await fetch(`${ingest.url}/api/v1/telemetry`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await mint(deviceId, 'device')}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return response.status;
    },
    fleet: () =>
      runFleet({
        url: ingest.url.replace('http', 'ws') + '/ws',
        credentials: async (deviceId) => ({ token: await mint(deviceId, 'device'), isGateway: false }),
        statistics: newLinkStatistics(),
        devices: 10,
        idPrefix: 'd-',
        ratePerDevice: Number.POSITIVE_INFINITY,
        readingsPerFrame: 7,
        misbehaviour: { duplicates: 0.2, outOfOrder: 0.1, malformed: 0.2 },
        seed: 7,
        rampUpMs: 0,
        countPerDevice: 200,
        bufferReadingsMax: 2_000,
        overflow: 'drop-oldest',
        settleTimeoutMs: 20_000,
        signal: new AbortController().signal,
      }),
  };
}

const eachQuarterSecond = { intervalMs: 250 };

describe('one platform', async () => {
  const platform = await operations();

  it('the reconciliation report balances after duplicates, disorder and malformed frames, and shows a deleted row', async () => {
    await platform.fleet();
    const twice = { epoch: 'e', seq: 1, ts: Date.now(), metrics: { a: 1 } };
    for (const _time of [1, 2]) await platform.post('twice', twice);
    const tooOld = Date.now() - 400 * 24 * 3_600_000;
    await platform.post('ancient', {
      epoch: 'e',
      seq: 1,
      readings: [
        { ts: tooOld, metrics: { a: 1 } },
        { ts: Date.now(), metrics: { a: 2 } },
      ],
    });

    const balanced = await eventually(async () => {
      const { total, explanation } = await platform.ledger();
      expect(total, explanation).toMatchObject({
        state: 'balanced',
        missing: 0,
        surplus: 0,
        inFlight: 0,
        deadLettered: 1,
      });
      return total;
    }, eachQuarterSecond);
    const { rows } = await platform.sql<{ n: number }>('select count(*)::int4 as n from readings');
    expect(balanced.stored).toBe(rows[0]?.n);
    expect(balanced.rejected).toBeGreaterThan(0);
    expect(balanced.duplicate).toBeGreaterThan(0);
    expect(balanced.received).toBe(balanced.stored + balanced.duplicate + balanced.rejected + 1);
    expect((await platform.ledger('&deviceId=ancient')).total).toMatchObject({
      state: 'balanced',
      stored: 1,
      deadLettered: 1,
    });
    expect(await platform.api.metric('fleetwire_reconciliation_missing_readings')).toBe(0);

    await platform.sql(
      `delete from readings where device_key = (select device_key from devices where device_id = 'ancient')`,
    );
    const { total, explanation } = await platform.ledger();
    expect(total).toMatchObject({ state: 'unbalanced', missing: 1 });
    expect(explanation).toContain('1 readings are missing');
  });

  it('/devices/{id}/gaps lists the missing sequence numbers of a device', async () => {
    const send = (seq: number) => platform.post('pump', { epoch: 'boot', seq, ts: Date.now(), metrics: { a: seq } });
    for (const seq of [1, 2, 5, 9]) expect(await send(seq)).toBe(202);
    await platform.post('pump', { metrics: { unnumbered: 1 } });
    await eventually(async () => {
      expect(await platform.get('/devices/pump/gaps')).toMatchObject({
        epochs: [{ epoch: 'boot', first: 1, last: 9, stored: 4, missing: 5, numberedBy: 'device' }],
        data: [
          { epoch: 'boot', from: 3, to: 4, count: 2, deadLettered: 0 },
          { epoch: 'boot', from: 6, to: 8, count: 3 },
        ],
      });
    }, eachQuarterSecond);
    const page = await platform.get<{ data: object[]; page: { next: string } }>('/devices/pump/gaps?limit=1');
    expect(page.data).toMatchObject([{ from: 3 }]);
    expect(await platform.get(`/devices/pump/gaps?limit=1&cursor=${page.page.next}`)).toMatchObject({
      data: [{ from: 6 }],
      page: { next: null },
    });
    await expect(platform.get('/devices/unknown/gaps')).rejects.toThrow('404');
  });

  it('/queues names the bottleneck: no consumers, Postgres stalled; it answers over AMQP while the management API is unavailable', async () => {
    await eventually(async () => {
      const { source, workers } = await platform.queues();
      expect({ source, ...workers }).toMatchObject({ source: 'management', answering: 1 });
      expect(await platform.persist()).toMatchObject({
        consumers: 1,
        bounds: { messagesMax: 1_000_000 },
        bottleneck: { verdict: 'none' },
        oldest: { ageSeconds: 0, source: 'worker' },
      });
    }, eachQuarterSecond);

    platform.postgresProxy.stall();
    await platform.post('pump', { epoch: 'e', seq: 1, ts: Date.now(), metrics: { a: 1 } });
    await eventually(async () => {
      const persist = await platform.persist();
      expect(persist.bottleneck).toMatchObject({ verdict: 'postgres' });
      expect(persist.oldest.ageSeconds).toBeGreaterThan(2);
      expect(persist.drain.seconds).toBeNull();
      expect(
        await platform.worker.metric('fleetwire_queue_oldest_age_seconds{queue="telemetry.persist"}'),
      ).toBeGreaterThan(2);
    }, eachQuarterSecond);
    platform.postgresProxy.resume();
    await eventually(async () => expect((await platform.persist()).oldest.ageSeconds).toBe(0), eachQuarterSecond);

    await platform.worker.stop();
    await platform.post('pump', { epoch: 'e', seq: 2, ts: Date.now(), metrics: { a: 1 } });
    await eventually(async () => {
      const persist = await platform.persist();
      expect(persist).toMatchObject({
        consumers: 0,
        bottleneck: { verdict: 'consumers' },
        oldest: { source: 'reports', atMost: true },
      });
      expect(persist.ready).toBeGreaterThan(0);
    }, eachQuarterSecond);

    platform.managementProxy.refuse();
    await eventually(async () => {
      const { source } = await platform.queues();
      expect(source).toBe('amqp');
      expect(await platform.persist()).toMatchObject({
        consumers: 0,
        unacked: null,
        bottleneck: { verdict: 'consumers' },
      });
      const circuits = (await platform.get<{ circuits: { name: string; state: string }[] }>('/status')).circuits;
      expect(circuits).toContainEqual({ name: 'management', state: 'open' });
    }, eachQuarterSecond);
    platform.managementProxy.resume();
    await eventually(async () => expect((await platform.queues()).source).toBe('management'), eachQuarterSecond);
  });
});

it('the reconciliation report names an ingest instance that was killed, and is incomplete without its reports', async () => {
  const platform = await operations();
  await platform.post('pump', { epoch: 'e', seq: 1, ts: Date.now(), metrics: { a: 1 } });
  await eventually(
    async () => expect((await platform.ledger()).total).toMatchObject({ received: 1, stored: 1 }),
    eachQuarterSecond,
  );
  const [{ instanceId } = { instanceId: '' }] = (await platform.ledger()).edges;

  await platform.ingest.kill();
  // As if it had been silent for minutes.
  await platform.sql(`update books_accepted set accepted = 0`);
  await platform.sql(`update books_accepted set minute = minute - 3`);
  await platform.sql(`update books_stored set minute = minute - 3`);
  await platform.sql(`update readings set received_at = received_at - interval '3 minutes'`);
  await eventually(async () => {
    // A report may still have been in the queue.
    await platform.sql(`update books_edges set last_reported_at = now() - interval '5 minutes'`);
    const { total, edges, explanation } = await platform.ledger();
    expect(total).toMatchObject({ state: 'incomplete', missing: 0, surplus: 1 });
    expect(edges).toMatchObject([{ instanceId, state: 'silent' }]);
    expect(explanation).toContain(`ingest-ws ${instanceId} has not reported since`);
  }, eachQuarterSecond);
});

it('/queues estimates the readings in the queue, which are many more than its messages', async () => {
  const platform = await operations();
  const frame = (first: number, count: number) => ({
    epoch: 'e',
    seq: first,
    readings: Array.from({ length: count }, (_, ordinal) => ({
      ts: Date.now(),
      metrics: { temperature: 20 + ordinal / 8 },
    })),
  });
  // Of small ones alone, the sizes of readings and of messages without any could not be told apart.
  for (let frames = 0; frames < 20; frames += 1)
    await platform.post('pump', frame(frames * 200, frames % 2 === 0 ? 10 : 200));
  await eventually(async () => expect((await platform.ledger()).total.stored).toBe(2_100), eachQuarterSecond);
  await eventually(async () => expect((await platform.persist()).readingsEstimate).toBe(0), eachQuarterSecond);

  await platform.worker.stop();
  for (let frames = 0; frames < 20; frames += 1) await platform.post('pump', frame(4_000 + frames * 200, 200));
  await eventually(async () => {
    const { ready, readingsEstimate } = await platform.persist();
    expect(ready).toBeLessThan(1_000);
    expect(readingsEstimate, `${ready} messages`).toBeGreaterThan(3_500);
    // Edge reports in the queue count as readings of the same size.
    expect(readingsEstimate).toBeLessThan(5_000);
  }, eachQuarterSecond);
  expect(await platform.api.metric('fleetwire_queue_depth_readings{queue="telemetry.persist"}')).toBeGreaterThan(3_500);
});
