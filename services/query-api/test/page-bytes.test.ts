import { randomBytes } from 'node:crypto';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { readings } from '@fleetwire/store/readers';
import { describe, expect, it } from 'vitest';
import { startProcess } from './query-api-process.ts';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const mebibyte = 1024 * 1024;
/** `mem_limit` of deploy/compose.yaml. */
const memoryBytesMax = 512 * mebibyte;
/** As in deploy/compose.yaml. */
const heapLimit = '--max-old-space-size=256';
const pageBytesMax = 8 * mebibyte;
/** A statement that reads megabytes takes long on a busy machine; these tests are about sizes. */
const patient = { STATEMENT_TIMEOUT_MS: '30000', BREAKER_TIMEOUT_MS: '31000' };
const fatReadings = 400;
const noon = Date.UTC(2026, 0, 1, 12);

/** About 250 kB of objects, the largest that a reading may have. */
function fatMetrics(text: () => string) {
  return Object.fromEntries(Array.from({ length: 63 }, (_, index) => [`m${index}`, { text: text() }]));
}

const store = await freshStore();
for (let seq = 0; seq < fatReadings; seq += 20) {
  const batch = Array.from({ length: 20 }, (_, index) =>
    reading({
      deviceId: 'fat',
      seq: seq + index,
      ts: noon + seq + index,
      // Half of them compress well: stored they are small.
      metrics: fatMetrics(index % 2 === 0 ? () => 'x'.repeat(3_900) : () => randomBytes(1_950).toString('hex')),
    }),
  );
  await store.write(batch);
}
await store.write([
  ...Array.from({ length: 40 }, (_, index) =>
    reading({
      deviceId: `fat-${index + 10}`,
      ts: noon,
      metrics: fatMetrics(() => 'x'.repeat(3_900)),
    }),
  ),
  ...Array.from({ length: 3_000 }, (_, seq) => reading({ deviceId: 'thin', seq, ts: noon + seq })),
]);

describe('a process with the memory limit of Compose', () => {
  // 300 MB of answers: a limit of its own.
  it(
    'answers three requests at the same time for 400 readings of 250 kB, and every reading is on one page',
    { timeout: 300_000 },
    async () => {
      const service = await startProcess({ DATABASE_URL: store.databaseUrl, NODE_OPTIONS: heapLimit, ...patient });
      cleanUp(() => service.stop());
      const headers = { authorization: `Bearer ${await tokenFor('analyst')}` };
      const walk = async (): Promise<number[]> => {
        const found: number[] = [];
        for (let cursor = ''; ;) {
          const response = await fetch(`${service.url}/api/v1/devices/fat/readings?limit=5000&order=asc${cursor}`, {
            headers,
          });
          const text = await response.text();
          expect(response.status, text.slice(0, 200)).toBe(200);
          expect(text.length).toBeLessThan(1.1 * pageBytesMax);
          const { data, page } = JSON.parse(text) as { data: { seq: number }[]; page: { next: string | null } };
          expect(data.length).toBeGreaterThan(0);
          found.push(...data.map(({ seq }) => seq));
          if (page.next === null) return found;
          cursor = `&cursor=${page.next}`;
        }
      };
      const all = Array.from({ length: fatReadings }, (_, seq) => seq);
      for (const found of await Promise.all([walk(), walk(), walk()])) expect(found).toEqual(all);
      expect(service.peakMemoryBytes()).toBeLessThan(memoryBytesMax);
    },
  );
});

describe('a page', () => {
  it('of the latest state ends before its limit when it is full, and the next pages have the other devices', async () => {
    const api = await startApi({ DATABASE_URL: store.databaseUrl, PAGE_BYTES_MAX: String(mebibyte / 4), ...patient });
    const found: string[] = [];
    let pages = 0;
    for (let path: string | undefined = '/api/v1/data'; path !== undefined; pages += 1) {
      const { body, headers } = await api.get(path);
      found.push(...body.data.map(({ deviceId }: { deviceId: string }) => deviceId));
      path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
    }
    expect(new Set(found).size).toBe(42);
    expect(found).toHaveLength(42);
    expect(pages).toBeGreaterThan(5);
  });

  it('of the audit of dead letters ends before its limit when it is full', async () => {
    await store.database.pool.query(
      `insert into dead_letter_actions (actor, action, details)
       select 'operator', 'discarded', jsonb_build_object('n', n, 'ids', repeat('x', 100000)) from generate_series(1, 50) as n`,
    );
    const api = await startApi({ DATABASE_URL: store.databaseUrl, PAGE_BYTES_MAX: String(mebibyte), ...patient });
    const found: number[] = [];
    let pages = 0;
    for (let path: string | undefined = '/api/v1/dead-letters/actions?limit=1000'; path !== undefined; pages += 1) {
      const { body, headers } = await api.get(path, { token: await tokenFor('operator') });
      found.push(...body.data.map(({ details }: { details: { n: number } }) => details.n));
      path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
    }
    expect(found).toEqual(Array.from({ length: 50 }, (_, index) => 50 - index));
    expect(pages).toBe(5);
  });

  it('of small readings is as long as its limit', async () => {
    const api = await startApi({ DATABASE_URL: store.databaseUrl, ...patient });
    const { body } = await api.get('/api/v1/devices/thin/readings?limit=2999');
    expect(body.covers).toMatchObject({ count: 2_999, complete: false });
    expect((await api.get('/api/v1/devices/thin/readings?limit=3000')).body.covers).toMatchObject({ complete: true });
  });

  it('has at least one element, also where that alone is larger than the bound', async () => {
    const query = { deviceId: 'fat', from: 0, to: Date.now(), limit: 5, order: 'asc' } as const;
    // The second shows that another page follows.
    expect(await readings(store.database, { ...query, bytesMax: 1 })).toHaveLength(2);
  });
});

it('answers in flight above ANSWER_BYTES_IN_FLIGHT_MAX are refused with 503 and Retry-After, until others are read', async () => {
  const api = await startApi({
    ...patient,
    DATABASE_URL: store.databaseUrl,
    // The buffers of the kernel take 4 MiB and more of an answer that is not read: what they take whole is sent.
    PAGE_BYTES_MAX: String(12 * mebibyte),
    ANSWER_BYTES_IN_FLIGHT_MAX: String(28 * mebibyte),
  });
  const path = '/api/v1/devices/fat/readings?limit=5000';
  const headers = { authorization: `Bearer ${await tokenFor('analyst', 'slow-reader')}` };
  // Their bodies are not read: the bytes stay in flight. `fetch` ends an answer that is not read when its object is garbage.
  const request = () => fetch(api.url + path, { headers });
  const unread = [await request(), await request()];
  expect(unread.map(({ status }) => status)).toEqual([200, 200]);

  const refused = await api.get(path);
  expect(refused.status).toBe(503);
  expect(refused.body.detail).toContain('ANSWER_BYTES_IN_FLIGHT_MAX');
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await api.get('/api/v1/devices/thin/readings?limit=10')).status).toBe(200);
  const metrics = (await api.get('/metrics')).body;
  expect(metrics).toMatch(/^fleetwire_query_answer_bytes_in_flight [1-9]\d{5,}$/m);
  expect(metrics).toContain('fleetwire_query_refused_total{reason="answer-bytes"} 1');

  for (const { body } of unread) await body?.cancel();
  await eventually(async () => {
    const { status, body } = await request();
    await body?.cancel();
    expect(status).toBe(200);
  });
});
