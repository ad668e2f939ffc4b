import { once } from 'node:events';
import { connect } from 'node:net';
import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { type RunningApi, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const store = await freshStore();
await store.write(
  Array.from({ length: 600 }, (_, seq) => reading({ deviceId: 'press-1', seq, ts: noon + seq * 1_000 })),
);
// In another partition, so that a lock on that of the other device does not hold up questions about this one.
await store.write([
  reading({ deviceId: 'thin', ts: Date.UTC(2026, 6, 15, 12), receivedAt: Date.UTC(2026, 6, 15, 12) }),
]);
const databaseUrl = store.databaseUrl;

const tenMinutes = 'from=2026-01-01T12:00:00Z&to=2026-01-01T12:10:00Z';
const path = `/api/v1/devices/press-1/series?metrics=temperature&agg=sum&interval=1m&${tenMinutes}`;
/** 600 readings and 10 numbers. */
const units = 601;

/** Holds every question about the readings of a device, until it is disposed of. */
async function lockReadingsOf(deviceId: string): Promise<AsyncDisposable> {
  const client = await store.database.pool.connect();
  const { rows } = await client.query<{ table: string }>(
    `select distinct r.tableoid::regclass::text as table from readings r join devices d using (device_key) where d.device_id = $1`,
    [deviceId],
  );
  await client.query('begin');
  for (const { table } of rows) await client.query(`lock table ${table} in access exclusive mode`);
  return {
    [Symbol.asyncDispose]: async () => {
      await client.query('rollback');
      client.release();
    },
  };
}

/** Statements of the service that wait for the lock. */
async function held(): Promise<number> {
  const { rows } = await store.database.pool.query(
    `select from pg_stat_activity where application_name like 'query-api %' and wait_event_type = 'Lock' and datname = current_database()`,
  );
  return rows.length;
}

async function metric({ get }: RunningApi, name: string): Promise<number> {
  const text = (await get('/metrics')).body as string;
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no ${name}`);
  return Number(line.slice(name.length + 1));
}

describe('the cost of questions', async () => {
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    QUERY_COST_MAX: '1000',
    QUERY_COST_PER_MINUTE: '1500',
    DEVICE_QUERY_COST_MAX: '700',
    DEVICE_QUERY_COST_PER_MINUTE: '700',
  });

  it('is taken from the bucket of the caller; one that has too few units left gets 429 that says which limit, and when', async () => {
    const [token, other] = [await tokenFor('analyst', 'ada'), await tokenFor('analyst', 'bea')];
    const answers = [await api.get(path, { token }), await api.get(path, { token }), await api.get(path, { token })];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers[0]!.body.cost.units).toBe(units);
    expect(answers[0]!.headers.get('ratelimit-policy')).toMatch(/"calls"; q=1200; w=60.*"cost";q=1500;w=60/);
    const left = answers.map(({ headers }) => Number(/"cost";r=(\d+);t=\d+/.exec(headers.get('ratelimit') ?? '')?.[1]));
    expect(left[0]).toBe(1_500 - units);
    // It fills again while the test runs.
    expect(left[1]).toBeLessThan(units);
    const { body, headers } = answers[2]!;
    expect(body).toMatchObject({ limit: 'cost-per-minute', cost: { units, limit: 1_500, left: expect.any(Number) } });
    expect(body.detail).toContain('(QUERY_COST_PER_MINUTE)');
    const seconds = Number(headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(Math.ceil((units / 1_500) * 60));
    // Cheap calls cost nothing, and the bucket of another caller is its own.
    expect((await api.get('/api/v1/devices/press-1/latest', { token })).status).toBe(200);
    expect((await api.get(path, { token: other })).status).toBe(200);
    expect(await metric(api, 'fleetwire_query_refused_total{reason="cost-per-minute"}')).toBe(1);
    expect(await metric(api, 'fleetwire_query_cost_units_sum{class="cheap",source="raw"}')).toBe(3 * units);
    expect(await metric(api, 'fleetwire_query_seconds_count{class="cheap"}')).toBe(3);
  });

  it('of a device has its own limit, and a question that costs more than one may is not charged', async () => {
    const token = await tokenFor('device', 'press-1');
    const expensive = `/api/v1/devices/press-1/series?metrics=temperature&agg=m4&interval=1s&${tenMinutes}`;
    const { status, headers } = await api.get(expensive, { token });
    expect([status, headers.get('ratelimit')?.includes('"cost"')]).toEqual([422, false]);
    expect(await metric(api, 'fleetwire_query_refused_total{reason="too-expensive"}')).toBe(1);
    expect((await api.get(path, { token })).status).toBe(200);
    const { body } = await api.get(path, { token });
    expect([body.limit, body.detail]).toEqual([
      'cost-per-minute',
      expect.stringContaining('DEVICE_QUERY_COST_PER_MINUTE'),
    ]);
  });
});

describe('equal questions at the same time', async () => {
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    STATEMENT_TIMEOUT_MS: '100000',
    BREAKER_TIMEOUT_MS: '200000',
  });
  const ask = async (subject: string, { role = 'analyst', url = path, signal }: Asking = {}) => {
    const token = await tokenFor(role, subject);
    return fetch(api.url + url, { headers: { authorization: `Bearer ${token}` }, ...(signal && { signal }) });
  };
  interface Asking {
    readonly role?: string;
    readonly url?: string;
    readonly signal?: AbortSignal;
  }

  it('share one execution, also of several callers with the same rights; a device has its own', async () => {
    let asked: Promise<Response>[];
    {
      await using _lock = await lockReadingsOf('press-1');
      asked = ['ada', 'ada', 'bea', 'cleo'].map((subject) => ask(subject));
      await eventually(async () => expect(await held()).toBe(1));
      asked.push(ask('press-1', { role: 'device' }), ask('ada', { url: path.replace('agg=sum', 'agg=max') }));
      await eventually(async () => expect(await held()).toBe(3));
    }
    const answers = await Promise.all(asked);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
    const texts = await Promise.all(answers.map((answer) => answer.text()));
    expect(new Set(texts.slice(0, 4)).size).toBe(1);
    expect(JSON.parse(texts[0]!)).toMatchObject({ stale: false, series: [{ sum: Array(10).fill(1_200) }] });
    // Not kept: the next one is read anew.
    await store.write([reading({ deviceId: 'press-1', seq: 1_000, ts: noon + 500 })]);
    expect(await (await ask('ada')).json()).toMatchObject({ series: [{ sum: [1_220, ...Array(9).fill(1_200)] }] });
  });

  it('go on while one of their clients is there, and end in Postgres when the last one has gone', async () => {
    const clients = [new AbortController(), new AbortController(), new AbortController()];
    const [first, second, third] = clients;
    {
      await using _lock = await lockReadingsOf('press-1');
      const asked = clients.map(({ signal }) => ask('ada', { signal }));
      const ended = asked.map((one) => one.catch((error: Error) => error.name));
      const more = Array.from({ length: 3 }, () => ask('ada', { signal: third!.signal }).catch(() => {}));
      await eventually(async () => expect(await held()).toBe(1));
      // All are there: a caller has 6 calls at the same time.
      await eventually(async () => expect((await ask('ada', { url: '/api/v1/devices' })).status).toBe(429));
      first!.abort();
      expect(await ended[0]).toBe('AbortError');
      second!.abort();
      expect(await ended[1]).toBe('AbortError');
      // Their places are free again, and the question goes on.
      await eventually(async () => expect((await ask('ada', { url: '/api/v1/devices' })).status).toBe(200));
      expect(await held()).toBe(1);
      third!.abort();
      await Promise.all(more);
      await eventually(async () => expect(await held()).toBe(0));
    }
    expect((await ask('ada')).status).toBe(200);
  });

  it('leave nothing of the budget of answers taken when the clients that began them have gone', async () => {
    const gone = new AbortController();
    let others: Promise<Response>[];
    {
      await using _lock = await lockReadingsOf('press-1');
      const begun = ask('ada', { signal: gone.signal }).catch(() => {});
      await eventually(async () => expect(await held()).toBe(1));
      others = Array.from({ length: 6 }, () => ask('bea'));
      // All are there: a caller has 6 calls at the same time.
      await eventually(async () => expect((await ask('bea', { url: '/api/v1/devices' })).status).toBe(429));
      gone.abort();
      await begun;
    }
    for (const answer of await Promise.all(others)) expect((await answer.text()).length).toBeGreaterThan(100);
    await eventually(async () => expect(await metric(api, 'fleetwire_query_answer_bytes_in_flight')).toBe(0));
  });

  it('of which one caller may not pay are asked anew by the others', async () => {
    const poor = await startApi({
      DATABASE_URL: databaseUrl,
      QUERY_COST_MAX: '1000',
      QUERY_COST_PER_MINUTE: '1000',
      DEVICE_QUERY_COST_MAX: '1000',
    });
    const [token, other] = [await tokenFor('analyst', 'ada'), await tokenFor('analyst', 'bea')];
    expect((await poor.get(path, { token })).status).toBe(200);
    const both = await Promise.all([poor.get(path, { token }), poor.get(path, { token: other })]);
    expect(both.map(({ status }) => status)).toEqual([429, 200]);
  });
});

it('a page of readings ends in Postgres when its client goes', async () => {
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    STATEMENT_TIMEOUT_MS: '100000',
    BREAKER_TIMEOUT_MS: '200000',
  });
  const client = new AbortController();
  const headers = { authorization: `Bearer ${await tokenFor('analyst')}` };
  {
    await using _lock = await lockReadingsOf('press-1');
    const asked = fetch(`${api.url}/api/v1/devices/press-1/readings?${tenMinutes}`, { headers, signal: client.signal });
    await eventually(async () => expect(await held()).toBe(1));
    client.abort();
    await expect(asked).rejects.toThrow('abort');
    await eventually(async () => expect(await held()).toBe(0));
  }
  const { body } = await api.get('/api/v1/status');
  expect(body.circuits.map(({ state }: { state: string }) => state)).not.toContain('open');
});

it('a client that goes while its token is checked leaves no call in flight behind', async () => {
  const api = await startApi({ DATABASE_URL: databaseUrl });
  const token = await tokenFor('analyst', 'hasty');
  const { port } = new URL(api.url);
  const request = `GET /api/v1/devices HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const socket = connect(Number(port), '127.0.0.1');
      await once(socket, 'connect');
      socket.write(request);
      // At different moments of the call.
      setTimeout(() => socket.resetAndDestroy(), index / 4);
      await once(socket, 'close');
    }),
  );
  await eventually(async () => expect((await api.get('/api/v1/devices', { token })).status).toBe(200));
  const together = await Promise.all(Array.from({ length: 6 }, () => api.get('/api/v1/devices', { token })));
  expect(together.map(({ status }) => status)).toEqual(Array(6).fill(200));
});

describe('an ETag', async () => {
  const api = await startApi({ DATABASE_URL: databaseUrl });
  const token = await tokenFor('analyst');
  const get = async (url: string, tag?: string) => {
    const response = await fetch(api.url + url, {
      headers: { authorization: `Bearer ${token}`, ...(tag && { 'if-none-match': tag }) },
    });
    const { status, headers } = response;
    return { status, tag: headers.get('etag'), caching: headers.get('cache-control'), text: await response.text() };
  };

  it.each([
    ['series', path, /^W\/"[\w-]{22}"$/, 'private, no-cache'],
    ['readings', `/api/v1/devices/press-1/readings?${tenMinutes}&limit=5`, /^"[\w-]{22}"$/, /s-maxage=1/],
    ['the latest state of a device', '/api/v1/devices/press-1/latest', /^"[\w-]{22}"$/, 'private, no-cache'],
    ['the latest state of all', '/api/v1/data', /^W\/"[\w-]{22}"$/, 'private, no-cache'],
  ])('of %s is answered with 304 until the answer changes', async (_what, url, form, caching) => {
    const first = await get(url);
    expect([first.status, first.tag, first.caching]).toEqual([
      200,
      expect.stringMatching(form),
      expect.stringMatching(caching),
    ]);
    for (const tag of [first.tag!, `"other", ${first.tag!}`, '*'])
      expect(await get(url, tag)).toMatchObject({ status: 304, tag: first.tag, text: '' });
    expect((await get(url, '"other"')).status).toBe(200);
    await store.write([
      reading({ deviceId: 'press-1', seq: (seq += 1), ts: noon + 599_500, metrics: { temperature: seq } }),
      reading({ deviceId: 'press-1', seq: (seq += 1), ts: noon + 700_000 + seq, metrics: { temperature: seq } }),
    ]);
    const changed = await get(url, first.tag!);
    expect([changed.status, changed.tag === first.tag]).toEqual([200, false]);
  });
  let seq = 2_000;

  it('is of no use to a question that is sent with POST', async () => {
    const response = await fetch(`${api.url}/api/v1/series/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'if-none-match': '*' },
      body: JSON.stringify({
        devices: ['press-1'],
        metrics: ['temperature'],
        agg: ['sum'],
        interval: '1m',
        from: '2026-01-01T12:00:00Z',
        to: '2026-01-01T12:10:00Z',
      }),
    });
    expect([response.status, (await response.text()).length > 100]).toEqual([200, true]);
  });

  it('is not given while the range has not ended', async () => {
    for (const url of [
      '/api/v1/devices/press-1/series?metrics=temperature&from=2026-01-01&to=now%2B1h&interval=1y',
      '/api/v1/devices/press-1/readings?limit=1&to=now%2B1h',
    ])
      expect(await get(url)).toMatchObject({ status: 200, tag: null, caching: 'no-store' });
  });
});

it('while the database is away, the last good answer to a question is told with its age, and 503 for others', async () => {
  const target = new URL(databaseUrl);
  const proxy = await startFaultProxy({ host: target.hostname, port: Number(target.port) });
  cleanUp(() => proxy.stop());
  const through = new URL(databaseUrl);
  through.host = `127.0.0.1:${proxy.port}`;
  const api = await startApi({
    DATABASE_URL: through.href,
    STATEMENT_TIMEOUT_MS: '500',
    BREAKER_TIMEOUT_MS: '700',
    BREAKER_RESET_MS: '400',
  });
  const fresh = await eventually(async () => {
    const answer = await api.get(path);
    expect(answer.status).toBe(200);
    return answer;
  });
  expect([fresh.body.stale, fresh.body.asOf, fresh.headers.get('x-fleetwire-stale')]).toEqual([false, undefined, null]);
  proxy.stall();
  const stale = await api.get(path);
  expect(stale.body).toEqual({ ...fresh.body, stale: true, asOf: expect.any(String) });
  expect(Number(stale.headers.get('x-fleetwire-stale'))).toBeGreaterThanOrEqual(0);
  expect([fresh.headers.get('etag'), stale.headers.get('etag')]).toEqual([expect.any(String), null]);
  expect(Math.abs(Date.now() - Date.parse(stale.body.asOf))).toBeLessThan(60_000);
  const other = await api.get(path.replace('agg=sum', 'agg=max'));
  expect([other.status, Number(other.headers.get('retry-after')) > 0]).toEqual([503, true]);
  expect(await metric(api, 'fleetwire_query_refused_total{reason="unavailable"}')).toBe(1);
  // What a device may read is its own: the answer of another caller is not told to it.
  const foreign = await api.get(path, { token: await tokenFor('device', 'press-1') });
  expect(foreign.status).toBe(503);
  proxy.resume();
  await eventually(async () => expect((await api.get(path)).body.stale).toBe(false));
});

it('cheap questions are answered while expensive ones hold all connections of theirs', async () => {
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    SCAN_POOL_MAX: '7',
    STATEMENT_TIMEOUT_MS: '100000',
    BREAKER_TIMEOUT_MS: '200000',
  });
  let asked: ReturnType<typeof api.get>[];
  {
    await using _lock = await lockReadingsOf('press-1');
    asked = Array.from({ length: 12 }, (_, index) =>
      tokenFor('analyst', `greedy-${index}`).then((token) =>
        api.get(`/api/v1/series?pattern=*&metrics=temperature&agg=p${50 + index}&groupBy=none&${tenMinutes}`, {
          token,
        }),
      ),
    );
    await eventually(async () => expect(await held()).toBeGreaterThanOrEqual(7));
    const token = await tokenFor('analyst', 'modest');
    for (const cheap of [
      '/api/v1/devices/thin/series?metrics=temperature&from=2026-07-15T12:00:00Z&to=2026-07-15T13:00:00Z&interval=1m',
      '/api/v1/devices/thin/latest',
      '/api/v1/devices/thin/readings?from=2026-07-15&to=2026-07-16',
      '/api/v1/data',
    ])
      expect([cheap, (await api.get(cheap, { token })).status]).toEqual([cheap, 200]);
  }
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array(12).fill(200));
  expect(await metric(api, 'fleetwire_query_cost_units_count{class="expensive",source="raw"}')).toBe(12);
});
