import { proxied } from '@fleetwire/platform/testing/proxied';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 10, 21, 12);
const store = await freshStore();
await store.write([
  ...Array.from({ length: 1_000 }, (_, index) =>
    reading({ deviceId: `pump-${index}`, ts: noon, receivedAt: noon + index, metrics: { value: index } }),
  ),
  reading({ deviceId: 'newest', ts: noon, receivedAt: noon + 60_000, metrics: { rpm: 1200, mode: 'auto' } }),
  reading({ deviceId: 'object', ts: noon, receivedAt: noon + 50_000, metrics: { value: { at: { lat: 1 } } } }),
]);
const { proxy, url } = await proxied(store.databaseUrl);
const api = await startApi({
  DATABASE_URL: url,
});

describe('GET /api/data', () => {
  it('has the newest 1,000 devices, the newest first, and says that there are more', async () => {
    const { status, body } = await api.get('/api/data');
    expect(status).toBe(200);
    expect(body.truncated).toBe(true);
    const ids = Object.keys(body.data);
    expect(ids).toHaveLength(1_000);
    expect(ids.slice(0, 3)).toEqual(['newest', 'object', 'pump-999']);
    expect(ids.at(-1)).toBe('pump-2');
    expect(body.timestamp_utc).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$/);
    expect(body.data).toMatchObject({
      newest: { value: { rpm: 1200, mode: 'auto' }, updated_at_utc: '2026-11-21T12:01:00.000+00:00' },
      object: { value: { at: { lat: 1 } } },
      'pump-7': { value: 7, updated_at_utc: '2026-11-21T12:00:00.007+00:00' },
    });
  });

  it('is read once for all callers that ask at the same time, and goes on when the first of them leaves', async () => {
    const patient = await startApi({
      DATABASE_URL: store.databaseUrl,
      STATEMENT_TIMEOUT_MS: '100000',
      BREAKER_TIMEOUT_MS: '200000',
    });
    const lock = await store.database.pool.connect();
    try {
      await lock.query('begin; lock table device_latest in access exclusive mode');
      // Not those of the probe, which reads no metrics. On another connection: a transaction sees the queries of its first look.
      const waiting = async () => {
        const { rows } = await store.database.pool.query(
          `select from pg_stat_activity where application_name like 'query-api %' and wait_event_type = 'Lock'
             and datname = current_database() and query like '%octet_length(q."metrics"%'`,
        );
        return rows.length;
      };
      const leaving = new AbortController();
      const token = await tokenFor('analyst', 'ada');
      const first = fetch(`${patient.url}/api/data`, {
        headers: { authorization: `Bearer ${token}` },
        signal: leaving.signal,
      }).catch((error: Error) => error.name);
      await eventually(async () => expect(await waiting()).toBe(1));
      const others = Array.from({ length: 5 }, () => patient.get('/api/data', { token }));
      // All are there: a caller has 6 calls at the same time.
      await eventually(async () => expect((await patient.get('/api/v1/none', { token })).status).toBe(429));
      leaving.abort();
      expect(await first).toBe('AbortError');
      expect(await waiting()).toBe(1);
      await lock.query('rollback');
      expect((await Promise.all(others)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    } finally {
      lock.release(true);
    }
  });

  it('gives a device itself, which may be nothing', async () => {
    const own = async (deviceId: string) =>
      (await api.get('/api/data', { token: await tokenFor('device', deviceId) })).body.data;
    expect(await own('pump-1')).toEqual({ 'pump-1': { value: 1, updated_at_utc: '2026-11-21T12:00:00.001+00:00' } });
    expect(await own('unheard-of')).toEqual({});
  });

  it('takes no token in the address', async () => {
    const response = await fetch(`${api.url}/api/data?token=${await tokenFor('analyst')}`);
    expect(response.status).toBe(401);
  });
});

describe('GET /api/status', () => {
  it('counts devices, and is not ok while no edge is known', async () => {
    const { body } = await api.get('/api/status');
    expect(body).toEqual({
      ok: false,
      devices_known: 1_002,
      websocket_clients_connected: 0,
      timestamp_utc: expect.stringMatching(/\+00:00$/),
    });
  });

  it('is for roles that may see all devices', async () => {
    expect((await api.get('/api/status', { token: await tokenFor('device') })).status).toBe(403);
  });
});

describe('POST /api/control', () => {
  // As device_two.py sends it.
  const body = { target: 'device_one', command: 'set_threshold', args: { min: 22, max: 28 } };

  it('records a command, and says that no socket has the device', async () => {
    const answer = await api.get('/api/control', { method: 'POST', body, token: await tokenFor('operator') });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      ok: true,
      dispatched: false,
      reason: 'device-unknown',
      event: { type: 'control', ...body, timestamp_utc: expect.stringMatching(/\+00:00$/), source: 'rest' },
    });
    const { body: list } = await api.get('/api/v1/devices/device_one/commands');
    expect(list.data).toMatchObject([{ command: 'set_threshold', state: 'failed' }]);
  });

  it('is for operators', async () => {
    expect((await api.get('/api/control', { method: 'POST', body })).status).toBe(403);
  });
});

it('while the database is away, the last good answers are given and marked', async () => {
  await api.get('/api/data');
  await api.get('/api/status');
  proxy.cut();
  await eventually(async () => {
    const { status, body } = await api.get('/api/data');
    expect({ status, stale: body.stale, truncated: body.truncated }).toEqual({
      status: 200,
      stale: true,
      truncated: true,
    });
  });
  expect((await api.get('/api/status')).body).toMatchObject({ devices_known: 1_002 });
});
