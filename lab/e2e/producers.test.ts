import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { createPlatform } from './platform.ts';

const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() });
await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1 });
const ingest = platform.services['ingest-ws'][0]!;
const api = await platform.start('query-api', { env: { INGEST_URL: ingest.url } });
const admin = await platform.keys.token('importer', 'admin');

interface Answer {
  readonly status: number;
  readonly body: any;
}

async function send(
  method: string,
  path: string,
  { body, key, token = admin }: { body?: unknown; key?: string; token?: string } = {},
): Promise<Answer> {
  const response = await fetch(`${api.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}

const history = async (id: string) => (await send('GET', `/devices/${id}/history?order=asc`)).body.data;
const noon = Date.UTC(2026, 0, 1, 12);
const series = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ ts: noon + index, metrics: { a: index } }));

describe('a server-side producer', () => {
  it('adds a reading of a device, which becomes its latest state', async () => {
    const added = await send('PATCH', '/devices/boiler/data', { body: { metrics: { temperature: 21.5 } } });
    expect(added.status, JSON.stringify(added.body)).toBe(202);
    expect(added.body).toEqual({
      accepted: 1,
      streams: [{ deviceId: 'boiler', epoch: 'api-importer', firstSeq: 0, lastSeq: 0 }],
    });
    await eventually(async () =>
      expect((await send('GET', '/devices/boiler/data')).body).toMatchObject({ metrics: { temperature: 21.5 } }),
    );
  });

  it('adds many readings, which follow one another in its epoch', async () => {
    expect((await send('POST', '/devices/oven/history', { body: series(3) })).body.streams).toMatchObject([
      { firstSeq: 0, lastSeq: 2 },
    ]);
    expect((await send('POST', '/devices/oven/history', { body: series(2) })).body.streams).toMatchObject([
      { firstSeq: 3, lastSeq: 4 },
    ]);
    await eventually(async () => expect(await history('oven')).toHaveLength(5));
  });

  it('stores readings once that are sent again with their key, also at the same time', async () => {
    const call = () => send('POST', '/devices/kiln/history', { body: series(10), key: 'one' });
    const answers = await Promise.all([call(), call(), call(), call()]);
    answers.push(await call());
    for (const { status, body } of answers) expect([status, body.streams[0].firstSeq]).toEqual([202, 0]);
    const other = await send('POST', '/devices/kiln/history', { body: series(11), key: 'one' });
    expect([other.status, other.body.errors[0].field]).toEqual([422, 'header.idempotency-key']);
    const next = await send('POST', '/devices/kiln/history', { body: series(1), key: 'two' });
    expect(next.body.streams).toMatchObject([{ firstSeq: 10, lastSeq: 10 }]);
    await eventually(async () => expect(await history('kiln')).toHaveLength(11));
  });

  it('gives a reading without a time that of the first call, so that a repeated call is no conflict', async () => {
    const call = (value: number, key?: string) =>
      send('PATCH', '/devices/smelter/data', { body: { metrics: { a: value } }, ...(key !== undefined && { key }) });
    expect([(await call(1, 'same')).status, (await call(1, 'same')).status, (await call(2)).status]).toEqual([
      202, 202, 202,
    ]);
    await eventually(async () => expect(await history('smelter')).toHaveLength(2));
    expect((await call(1, 'same')).status).toBe(202);
    expect((await call(3)).status).toBe(202);
    await eventually(async () => expect(await history('smelter')).toHaveLength(3));
    const { body } = await send('GET', '/devices/smelter/gaps');
    expect(body, JSON.stringify(body)).toMatchObject({ epochs: [{ epoch: 'api-importer', conflicting: 0 }] });
  });

  it('gets 503 while ingest-ws is away, and the same numbers with the same key afterwards', async () => {
    await ingest.kill();
    const refused = await send('POST', '/devices/press/history', { body: series(5), key: 'k' });
    expect(refused.status).toBe(503);
    ingest.start();
    await ingest.untilReady();
    await eventually(async () => {
      const sent = await send('POST', '/devices/press/history', { body: series(5), key: 'k' });
      expect([sent.status, sent.body.streams?.[0].firstSeq]).toEqual([202, 0]);
    });
    await eventually(async () => expect(await history('press')).toHaveLength(5));
  });

  it('is told which reading is not valid, and then none is accepted', async () => {
    const [first, second] = series(2);
    for (const [body, field] of [
      [[first, { ...second, ts: 1 }], 'body[1].ts'],
      [[first, { ts: noon, metrics: { a: { b: { c: { d: { e: { f: { g: 1 } } } } } } } }], /^body\[1\]\.metrics\.a/],
      [[{ metrics: { a: 1 } }], 'body[0].ts'],
    ] as const) {
      const refused = await send('POST', '/devices/invalid/history', { body });
      expect(refused.status).toBe(422);
      expect(refused.body.errors[0].field).toMatch(field);
    }
    expect((await send('POST', '/devices/invalid/history', { body: [] })).status).toBe(422);
    expect((await send('PATCH', '/devices/invalid/data', { body: { metrics: { 'a\0': 1 } } })).status).toBe(400);
    expect((await send('GET', '/devices/invalid')).status).toBe(404);
  });

  it('is a device for itself, or an admin', async () => {
    const body = { metrics: { a: 1 } };
    const own = await platform.keys.token('self', 'device');
    expect((await send('PATCH', '/devices/self/data', { body, token: own })).status).toBe(202);
    expect((await send('PATCH', '/devices/boiler/data', { body, token: own })).status).toBe(403);
    for (const role of ['analyst', 'operator'] as const)
      expect(
        (await send('PATCH', '/devices/self/data', { body, token: await platform.keys.token('a', role) })).status,
      ).toBe(403);
  });
});
