import { eventually } from '@fleetwire/platform/testing/eventually';
import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { afterAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { vhostOf } from '../src/queues/management-source.ts';
import { startApi } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
await store.write([reading({ ts: Date.UTC(2026, 0, 1) })]);
const target = new URL(store.databaseUrl);
const proxy = await startFaultProxy({ host: target.hostname, port: Number(target.port) });
afterAll(() => proxy.stop());
const through = new URL(store.databaseUrl);
through.host = `127.0.0.1:${proxy.port}`;

const breakerTimeoutMs = 700;
const timing = {
  STATEMENT_TIMEOUT_MS: '500',
  BREAKER_TIMEOUT_MS: String(breakerTimeoutMs),
  BREAKER_RESET_MS: '400',
  BREAKER_VOLUME_MIN: '3',
};
const api = await startApi({
  DATABASE_URL: through.href,
  ...timing,
  AMQP_URL: await freshVhost(),
  MANAGEMENT_URL: inject('managementUrl'),
});
const history = '/api/v1/devices/pump-1/readings';

const circuitState = async (name: string): Promise<string> => {
  const { body } = await api.get('/api/v1/status');
  return body.circuits.find((circuit: { name: string }) => circuit.name === name).state;
};
const openHistory = () =>
  eventually(async () => {
    await Promise.all(Array.from({ length: 4 }, () => api.get(history)));
    expect(await circuitState('history')).toBe('open');
  });

async function untilHealthy(): Promise<void> {
  proxy.resume();
  await eventually(async () => {
    for (const path of [history, '/api/v1/data', '/api/v1/devices']) {
      const { status, body } = await api.get(path);
      expect([status, body.stale ?? false]).toEqual([200, false]);
    }
    expect((await api.get('/readyz')).status).toBe(200);
  });
}
beforeEach(untilHealthy);

describe('while the database does not answer', () => {
  it('a circuit opens, answers 503 with Retry-After immediately, and closes when the database answers again', async () => {
    proxy.stall();
    await openHistory();

    const startedAt = performance.now();
    const refused = await api.get(history);
    expect(performance.now() - startedAt).toBeLessThan(breakerTimeoutMs);
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await api.get('/metrics')).body).toMatch(/^fleetwire_circuit_state\{name="history"\} [12]$/m);

    proxy.resume();
    await eventually(async () => expect((await api.get(history)).status).toBe(200));
    expect(await circuitState('history')).toBe('closed');
    expect((await api.get('/metrics')).body).toMatch(/^fleetwire_circuit_state\{name="history"\} 0$/m);
  });

  it('an open circuit leaves the other circuits closed', async () => {
    proxy.stall();
    await openHistory();
    proxy.resume();
    expect(await circuitState('latest')).toBe('closed');
  });

  it('the latest state is the last good answer, marked as stale and with the time of that answer', async () => {
    const fresh = await api.get('/api/v1/data');
    expect(fresh.body.stale).toBe(false);
    proxy.stall();
    const stale = await api.get('/api/v1/data');
    expect(stale.body).toEqual({ ...fresh.body, stale: true });
    expect((await api.get('/api/v1/data?limit=7')).status, 'no earlier answer for these parameters').toBe(503);
  });

  it('/status answers and reports the outage; readiness fails, liveness does not', async () => {
    expect((await api.get('/api/v1/status')).body).toMatchObject({
      database: { state: 'up' },
      store: { stale: false },
    });
    proxy.stall();
    await eventually(async () => {
      const { status, body } = await api.get('/api/v1/status');
      expect(status).toBe(200);
      expect(body).toMatchObject({
        database: { state: 'down' },
        broker: { state: 'up' },
        store: { stale: true, devices: { count: 1 } },
      });
      expect((await api.get('/readyz')).status).toBe(503);
    });
    expect((await api.get('/healthz')).status).toBe(200);
  });

  it('invalid requests are still answered with 400, and do not open the circuit', async () => {
    proxy.stall();
    for (let call = 0; call < 10; call += 1) expect((await api.get(`${history}?limit=0`)).status).toBe(400);
    expect(await circuitState('history')).toBe('closed');
  });
});

it('/status counts queued messages over AMQP where no management API is configured', async () => {
  const amqpUrl = await freshVhost();
  const vhost = vhostOf(amqpUrl);
  await manageBroker('PUT', `/queues/${vhost}/telemetry.persist`, {
    durable: true,
    arguments: { 'x-queue-type': 'quorum' },
  });
  const message = { routing_key: 'telemetry.persist', payload: '', payload_encoding: 'string', properties: {} };
  await manageBroker('POST', `/exchanges/${vhost}/amq.default/publish`, message);
  const withoutManagement = await startApi({ DATABASE_URL: store.databaseUrl, AMQP_URL: amqpUrl });
  await eventually(async () => {
    expect((await withoutManagement.get('/api/v1/status')).body.broker).toEqual({
      state: 'up',
      queues: [{ name: 'telemetry.persist', messages: 1, unacknowledged: null }],
    });
  });
});

it('not-found answers never open a circuit', async () => {
  for (let call = 0; call < 20; call += 1) expect((await api.get('/api/v1/devices/unknown')).status).toBe(404);
  expect(await circuitState('registry')).toBe('closed');
});

it('reset connections are replaced', async () => {
  proxy.reset();
  await eventually(async () => expect((await api.get(history)).status).toBe(200));
});

it('starts while the database is unavailable, and becomes ready when it is available', async () => {
  proxy.refuse();
  const early = await startApi({ DATABASE_URL: through.href, ...timing });
  expect((await early.get('/readyz')).status).toBe(503);
  expect((await early.get('/api/v1/status')).body).toMatchObject({
    database: { state: 'down' },
    broker: { state: 'not-configured' },
    store: null,
  });
  expect((await early.get('/api/v1/data')).status).toBe(503);
  proxy.resume();
  await eventually(async () => expect((await early.get('/readyz')).status).toBe(200));
  await early.stop();
});
