import { migrate } from '@fleetwire/store/migrate';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { describe, expect, it } from 'vitest';
import type { Operation } from '../src/route.ts';
import { routes } from '../src/routes.ts';
import { startApi, tokenFor } from './running-api.ts';
import { pathOf, sampleOf } from './sample-calls.ts';
import { freshStore, reading } from './stored.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const api = await startApi({ DATABASE_URL: databaseUrl, RATE_LIMIT_PER_MINUTE: '1000000' });
const token = await tokenFor('admin');
const forged = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString('base64url');

describe('text that Postgres cannot store is refused with 400, naming the field', () => {
  it.each([
    ['/dead-letters?fingerprint=%00', 'query.fingerprint'],
    ['/dead-letters?deviceId=a%00', 'query.deviceId'],
    ['/dead-letters/groups?fingerprint=%00', 'query.fingerprint'],
    ['/dead-letters/%00', 'path.id'],
    ['/dead-letters/replays/%00', 'path.id'],
    ['/devices?q=%00', 'query.q'],
    ['/devices/pump-1/readings?metrics=a,%00', 'query.metrics'],
  ])('in %s', async (path, field) => {
    const { status, body } = await api.get(`/api/v1${path}`, { token });
    expect(status).toBe(400);
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  it.each([
    ['/dead-letters/discard', { ids: ['a', '\0'], reason: 'x' }, 'body.ids[1]'],
    ['/dead-letters/discard', { ids: ['a'], reason: 'x\0' }, 'body.reason'],
    ['/dead-letters/replays', { filter: { fingerprint: '\ud800' } }, 'body.filter.fingerprint'],
    ['/tokens', { subject: 'a', role: 'device', '\0': 1 }, 'body'],
  ])('in the body of POST %s', async (path, content, field) => {
    const { status, body } = await api.get(`/api/v1${path}`, { token, method: 'POST', body: content });
    expect(status).toBe(400);
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });
});

it('a body that is nested deeper than the stack has room for is refused with 400, and brackets in text are not nesting', async () => {
  const patch = async (body: string) => {
    const answer = await fetch(`${api.url}/api/v1/dead-letters/0a93ff96af1881feb83e931a4daabd69`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body,
    });
    return { status: answer.status, text: await answer.text() };
  };
  const nested = (text: string, levels: number) => `{"patch":${`{${text}:`.repeat(levels)}1${'}'.repeat(levels)}}`;
  expect(await patch(nested('"a"', 20_000))).toMatchObject({
    status: 400,
    text: expect.stringContaining('64 levels (nestingLevelsMax)'),
  });
  expect((await patch(nested(JSON.stringify(`\\"${'[{'.repeat(100)}`), 10))).text).not.toContain('nestingLevelsMax');
});

describe('a cursor', () => {
  const hugeNumbers = { from: 9e15, to: 9e15, ts: 1e300, streamKey: 1e10, seq: 1e300 };

  it.each([
    ['/devices/pump-1/readings', hugeNumbers],
    ['/devices/pump-1/gaps', { streamKey: 1e12, to: 1e300 }],
    ['/devices', { deviceId: 'a', seenSince: 1e300 }],
    ['/data', { deviceId: 'a' }],
    ['/dead-letters', { number: 1e300, from: 1e300 }],
    ['/dead-letters/actions', { number: 1e300 }],
    ['/dead-letters/replays', { number: 1e300 }],
  ])('of %s that a client made up is refused with 400', async (path, position) => {
    for (const text of [
      forged({ query: '', position }),
      `${forged({ query: '', position })}.${'A'.repeat(22)}`,
      'a.b.c',
    ]) {
      const { status, body } = await api.get(`/api/v1${path}?cursor=${text}`, { token });
      expect(status).toBe(400);
      expect(body.errors).toEqual([{ field: 'query.cursor', detail: expect.any(String) }]);
    }
  });

  it('is accepted by another instance that reads the same database, and refused once its position is changed', async () => {
    const store = await freshStore();
    await store.write([reading({ deviceId: 'a' }), reading({ deviceId: 'b' })]);
    const [one, other] = [
      await startApi({ DATABASE_URL: store.databaseUrl }),
      await startApi({ DATABASE_URL: store.databaseUrl }),
    ];
    const { next } = (await one.get('/api/v1/devices?limit=1')).body.page;
    const second = await other.get(`/api/v1/devices?limit=1&cursor=${next}`);
    expect(second.body.data).toMatchObject([{ deviceId: 'b' }]);

    const [content, signature] = next.split('.');
    const changed = JSON.parse(Buffer.from(content, 'base64url').toString());
    changed.position.deviceId = 'A';
    const tampered = await other.get(`/api/v1/devices?limit=1&cursor=${forged(changed)}.${signature}`);
    expect(tampered.status).toBe(400);
  });
});

describe('every operation', async () => {
  const store = await freshStore();
  await store.write([reading({ ts: Date.now() - 60_000 }), reading({ deviceId: 'pump-2', ts: Date.now() - 30_000 })]);
  const filled = await startApi({ DATABASE_URL: store.databaseUrl, RATE_LIMIT_PER_MINUTE: '1000000' });
  const foreignCursor = (await filled.get('/api/v1/devices?limit=1', { token })).body.page.next as string;
  const notTimes = ['soon', 'NaN', '2026-13-01', '2026-02-30T25:00:00Z', 'now-9999999d', '9'.repeat(15), "now'; --"];
  const ids = (count: number) => Array.from({ length: count }, (_, index) => `pump-${index}`);
  const notNames = ["'; drop table readings; --", '../..', 'a b'];

  /** Values that each parameter of such a name refuses. */
  const refused: Readonly<Record<string, readonly string[]>> = {
    from: notTimes,
    to: notTimes,
    since: notTimes,
    seenSince: notTimes,
    at: notTimes,
    ingestedSince: notTimes,
    tz: ['Mars/Phobos', 'Europe/Berlin; --', '../../etc/passwd', '+25:00'],
    interval: ['7q', '0s', '-1h', '1e3s', '999999y', '1mo1d'],
    offset: ['7', '-7d', '0d', 'NaNd'],
    agg: ['median', 'p101', 'p-1', 'pNaN', "avg'--", ids(13).join()],
    where: ['temperature', 'temperature>NaN', 'temperature>Infinity', 'temperature>1;--', 'temperature>1e999', '>1'],
    fill: ['zero'],
    layout: ['tall'],
    format: ['xlsx'],
    order: ['up', 'asc; --'],
    by: ['value; --'],
    numbers: ['roman'],
    groupBy: ['tag:', 'device; --'],
    downsample: ['lttb2'],
    cursor: ['x', 'a.b.c', forged({ query: '', position: {} }), `${foreignCursor}A`, foreignCursor],
    pattern: ['x'.repeat(129), '*a*b*c*d*e*', ...notNames],
    tag: ['x'.repeat(65), 'a b'],
    type: ['x'.repeat(65), 'a b'],
    devices: [ids(101).join(), ...notNames, 'x'.repeat(129)],
    deviceId: ['x'.repeat(129)],
    metrics: [ids(51).join(), 'x'.repeat(129)],
    metric: ['x'.repeat(129)],
    limit: ['0', '-1', 'NaN', '1e3', '10001', '9223372036854775808'],
    maxPoints: ['0', '-1', 'NaN', '6001'],
    bins: ['0', '501', 'NaN'],
    edges: ['a,b', '5,1', '1,NaN', '1,1', '1e999,1'],
    n: ['0', '1001', 'NaN'],
    fillMaxMs: ['0', 'NaN'],
    presence: ['lost'],
    state: ['lost'],
    status: ['lost'],
    sort: ['name; --'],
    fields: ['password'],
    start: ['middle'],
    registered: ['maybe'],
    silent: ['maybe'],
    reason: ['none'],
    erase: ['maybe'],
    q: [],
    epoch: ['a b', 'x'.repeat(65)],
    fingerprint: ['x'.repeat(200)],
  };
  /** Its own cursor, and a tag with spaces that no device has. */
  const isAccepted = (operation: Operation, name: string, value: string): boolean =>
    (name === 'cursor' && value === foreignCursor && operation.operationId === 'listDevices') ||
    (name === 'tag' && value === 'a b' && operation.operationId === 'listDevices');
  const ask = ({ method, path, operationId, body }: Operation, parameters: readonly (readonly [string, string])[]) => {
    const sample = sampleOf(operationId);
    const query = new URLSearchParams(sample.query);
    for (const [name, value] of parameters) query.set(name, value);
    return filled.get(`/api/v1${pathOf(path)}?${query}`, {
      token,
      method: method.toUpperCase(),
      ...(sample.headers && { headers: sample.headers }),
      ...(body && { body: sample.body }),
    });
  };

  it('refuses values that a parameter cannot have with 4xx, naming the parameter and what is allowed', async () => {
    const differing: string[] = [];
    for (const operation of routes)
      for (const name of Object.keys(operation.query.properties)) {
        const values = refused[name];
        expect(values, `the table has no values for ${operation.operationId} ${name}`).toBeDefined();
        for (const value of values!) {
          if (isAccepted(operation, name, value)) continue;
          const { status, body } = await ask(operation, [[name, value]]);
          const named = (body.errors ?? []).find(({ field }: { field: string }) => field === `query.${name}`);
          // Without a folder for files there are no export jobs.
          if (status === 501) continue;
          if ((status !== 400 && status !== 422) || !(named?.detail.length > 10))
            differing.push(
              `${operation.operationId} ${name}=${value.slice(0, 40)}: ${status} ${JSON.stringify(body).slice(0, 200)}`,
            );
        }
      }
    expect(differing).toEqual([]);
  });

  it('refuses a range that is reversed or empty, and bounds one that is enormous', async () => {
    const ranged = routes.filter(({ query }) => 'from' in query.properties && 'to' in query.properties);
    expect(ranged.length).toBeGreaterThan(8);
    for (const operation of ranged) {
      for (const [from, to] of [
        ['now', 'now-1h'],
        ['2026-01-01', '2026-01-01'],
      ] as const) {
        const { status, body } = await ask(operation, [
          ['from', from],
          ['to', to],
        ]);
        expect([operation.operationId, status, body.errors?.[0]?.field]).toEqual([
          operation.operationId,
          400,
          expect.stringMatching(/^query\.(from|to)$/),
        ]);
      }
      const enormous = await ask(operation, [
        ['from', '1970-01-01'],
        ['to', '9999-12-31'],
        ...('interval' in operation.query.properties ? ([['interval', '1s']] as const) : []),
      ]);
      expect([operation.operationId, enormous.status]).toEqual([
        operation.operationId,
        expect.toBeOneOf('interval' in operation.query.properties ? [400, 422] : [200, 400, 422]),
      ]);
      if (enormous.status >= 400)
        expect(enormous.body.errors?.[0]?.field).toMatch(/^query\.(from|to|interval|metrics)$/);
    }
  });

  it('answers text that is meant for a database, a shell or a path as any other text', async () => {
    const texts = [
      "'; drop table readings; --",
      '%00\u2028',
      '{"$gt":""}',
      '../../etc/passwd',
      '${7*7}',
      '\\',
      '%',
      '__proto__',
    ];
    const differing: string[] = [];
    for (const operation of routes) {
      for (const name of Object.keys(operation.query.properties))
        for (const text of texts) {
          const { status } = await ask(operation, [[name, text]]);
          if (status >= 500 && status !== 501) differing.push(`${operation.operationId} ${name}=${text}: ${status}`);
        }
      if (!operation.path.includes('{id}')) continue;
      for (const text of texts) {
        const { status } = await ask(
          { ...operation, path: operation.path.replace('{id}', encodeURIComponent(text)) },
          [],
        );
        if (status >= 500 && status !== 501) differing.push(`${operation.operationId} id=${text}: ${status}`);
      }
    }
    expect(differing).toEqual([]);
    expect((await filled.get('/api/v1/readings?pattern=*', { token })).body.data).toHaveLength(2);
  });

  it.each(['querySeries', 'createExport'])(
    '%s takes ten thousand devices, and names the limit for one more',
    async (name) => {
      const operation = routes.find(({ operationId }) => operationId === name)!;
      const { pattern: _, ...sample } = sampleOf(name).body as { pattern: string };
      const post = (count: number) =>
        filled.get(`/api/v1${operation.path}`, { token, method: 'POST', body: { ...sample, devices: ids(count) } });
      expect((await post(10_000)).status).toBeOneOf([200, 501]);
      const { status, body } = await post(10_001);
      expect([status, body.errors[0].field, body.errors[0].detail]).toEqual([
        expect.toBeOneOf([400, 422]),
        'body.devices',
        expect.stringContaining('10000'),
      ]);
    },
  );

  it('names metrics and devices that are not known', async () => {
    const only = await filled.get('/api/v1/devices/pump-1/series?metrics=nonsense', { token });
    expect([only.status, only.body.detail]).toEqual([404, expect.stringContaining('nonsense')]);
    const two = await filled.get('/api/v1/series?devices=pump-1,unregistered&metrics=temperature,nonsense', { token });
    expect([two.status, two.body.covers.unknown]).toEqual([200, expect.anything()]);
    const monthly = await filled.get('/api/v1/devices/pump-1/series?metrics=temperature&agg=rate&interval=1mo', {
      token,
    });
    expect(monthly.status).toBe(200);
  });
});
