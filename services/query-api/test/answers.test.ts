import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { startApi, type Reply } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const store = await freshStore();
const mixed = {
  temperature: -0.1,
  precise: 0.1 + 0.2,
  big: 1e300,
  count: 9_007_199_254_740_991,
  open: false,
  mode: 'auto "ü" 🙂',
  position: { lat: 52.5, deep: { list: [1, null, 'x', true] } },
  'a,b/c': 1,
};
await store.write([
  reading({ deviceId: 'Mixed_1', ts: noon, metrics: mixed }),
  // Three timestamps in two boots, seven times each: order by time alone would be ambiguous.
  ...Array.from({ length: 42 }, (_, index) =>
    reading({
      deviceId: 'repeating',
      epoch: `boot-${index % 2}`,
      seq: Math.floor(index / 2),
      ts: noon + (index % 3) * 1000,
      metrics: { index, ...(index % 2 === 0 && { even: true }) },
    }),
  ),
  ...Array.from({ length: 25 }, (_, index) => reading({ deviceId: `pump-${index + 10}`, ts: noon + index })),
  reading({ deviceId: 'late', seq: 1, ts: noon + 5_000, metrics: { temperature: 2, pressure: 7 } }),
  reading({ deviceId: 'late', seq: 2, ts: noon, metrics: { temperature: 1, humidity: 3 }, receivedAt: noon + 9_000 }),
]);
const api = await startApi({ DATABASE_URL: store.databaseUrl });

/** Follows `Link: rel="next"` to the end. */
async function allPages(path: string): Promise<Reply[]> {
  const pages: Reply[] = [];
  for (let next: string | undefined = path; next !== undefined;) {
    const page = await api.get(next);
    expect(page.status, JSON.stringify(page.body)).toBe(200);
    expect(page.body.covers).toMatchObject({ count: page.body.data.length, complete: page.body.page.next === null });
    pages.push(page);
    next = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1];
  }
  return pages;
}
const dataOf = (pages: Reply[]): any[] => pages.flatMap(({ body }) => body.data);

describe('readings', () => {
  it('are returned with every value as it was sent', async () => {
    const { body } = await api.get('/api/v1/devices/Mixed_1/readings');
    expect(body.data).toEqual([
      {
        ts: '2026-01-01T12:00:00.000Z',
        epoch: 'boot-1',
        seq: 0,
        receivedAt: '2026-01-02T00:00:00.000Z',
        metrics: mixed,
      },
    ]);
    expect((await api.get('/api/v1/devices/Mixed_1/latest')).body.metrics).toEqual(mixed);
  });

  it.each(['asc', 'desc'])('with equal timestamps are paged without loss or repetition, order %s', async (order) => {
    for (const limit of [1, 4, 5, 41, 42, 43]) {
      const rows = dataOf(await allPages(`/api/v1/devices/repeating/readings?limit=${limit}&order=${order}`));
      expect(new Set(rows.map(({ epoch, seq }) => `${epoch}/${seq}`)).size).toBe(42);
      expect(rows).toHaveLength(42);
      const times = rows.map(({ ts }) => Date.parse(ts) * (order === 'asc' ? 1 : -1));
      expect(times).toEqual([...times].sort((a, b) => a - b));
    }
  });

  it('are within a half-open range, which the answer states', async () => {
    const range = `from=${noon}&to=2026-01-01T12:00:02Z`;
    const { body } = await api.get(`/api/v1/devices/repeating/readings?${range}`);
    expect(body.covers).toEqual({
      from: '2026-01-01T12:00:00.000Z',
      to: '2026-01-01T12:00:02.000Z',
      count: 28,
      complete: true,
    });
    const empty = await api.get('/api/v1/devices/repeating/readings?from=now-1h&to=now');
    expect(empty.body).toMatchObject({ data: [], covers: { count: 0, complete: true }, page: { next: null } });
  });

  it('can be limited to some metrics; readings without any of them are left out', async () => {
    const rows = dataOf(await allPages('/api/v1/devices/repeating/readings?metrics=even,nothing&limit=5'));
    expect(rows).toHaveLength(21);
    expect(rows.every(({ metrics }) => Object.keys(metrics).join() === 'even')).toBe(true);
  });

  it('keep the range of the first page on later pages', async () => {
    const [first, second] = await allPages('/api/v1/devices/repeating/readings?from=now-100w&limit=40');
    expect(second?.body.covers).toMatchObject({ from: first?.body.covers.from, to: first?.body.covers.to });
  });

  it('of an unknown device are a 404, not an empty list', async () => {
    expect((await api.get('/api/v1/devices/unknown/readings')).status).toBe(404);
  });

  it('are refused with the cursor of another query', async () => {
    const { body } = await api.get('/api/v1/devices/repeating/readings?limit=5');
    const { next } = body.page;
    for (const path of [
      `/api/v1/devices/repeating/readings?limit=5&order=asc&cursor=${next}`,
      `/api/v1/devices/repeating/readings?metrics=index&cursor=${next}`,
      `/api/v1/devices/Mixed_1/readings?cursor=${next}`,
      `/api/v1/devices?cursor=${next}`,
      `/api/v1/data?cursor=${next}`,
      `/api/v1/devices/repeating/readings?cursor=${next.slice(1)}`,
    ]) {
      const refused = await api.get(path);
      expect(refused.status, path).toBe(400);
      expect(refused.body.errors).toEqual([{ field: 'query.cursor', detail: expect.any(String) }]);
    }
    expect((await api.get(`/api/v1/devices/repeating/readings?limit=7&cursor=${next}`)).body.data).toHaveLength(7);
  });

  it.each([
    ['limit=0', 'query.limit', 'from 1 to 5000'],
    ['limit=5001', 'query.limit', 'from 1 to 5000'],
    ['order=up', 'query.order', 'one of desc, asc'],
    ['from=yesterday', 'query.from', 'now-6h'],
    ['from=now&to=now-1h', 'query.from', 'must be before'],
    ['from=-1', 'query.from', 'now-6h'],
    [`metrics=${'x'.repeat(200)}`, 'query.metrics', '1 to 128 characters'],
    ['form=now', 'query.form', 'accepted are from'],
    ['limit=1&limit=2', 'query.limit', 'more than once'],
  ])('are refused for %s, naming what is allowed', async (query, field, words) => {
    const { status, body } = await api.get(`/api/v1/devices/repeating/readings?${query}`);
    expect(status).toBe(400);
    expect(body.errors).toEqual([{ field, detail: expect.stringContaining(words) }]);
  });
});

describe('devices', () => {
  it('are paged by id', async () => {
    const ids = dataOf(await allPages('/api/v1/devices?limit=7')).map(({ deviceId }) => deviceId);
    expect(ids).toHaveLength(28);
    expect(ids).toEqual([...ids].sort());
  });

  it('are found by a part of their id, without wildcards', async () => {
    const found = async (q: string) =>
      dataOf(await allPages(`/api/v1/devices?limit=3&q=${encodeURIComponent(q)}`)).length;
    expect(await found('PUMP-1')).toBe(10);
    expect(await found('_1')).toBe(1);
    expect(await found('%')).toBe(0);
    expect(await found("'; drop table devices; --")).toBe(0);
  });

  it('are filtered by the time of their newest reading', async () => {
    const since = async (time: string) => dataOf(await allPages(`/api/v1/devices?limit=10&seenSince=${time}`)).length;
    expect(await since('2026-01-01')).toBe(28);
    expect(await since('now')).toBe(0);
    expect((await api.get('/api/v1/devices?seenSince=soon')).body.errors[0].field).toBe('query.seenSince');
  });

  it('list their boots', async () => {
    const { body } = await api.get('/api/v1/devices/repeating');
    expect(body).toMatchObject({ deviceId: 'repeating', lastTs: '2026-01-01T12:00:02.000Z' });
    expect(body.epochs.map(({ epoch, lastSeq }: any) => [epoch, lastSeq]).sort()).toEqual([
      ['boot-0', 20],
      ['boot-1', 20],
    ]);
  });
});

describe('the latest state', () => {
  it('holds the newest value of each metric: late readings add metrics and overwrite none', async () => {
    const { body } = await api.get('/api/v1/devices/late/latest');
    expect(body).toMatchObject({
      ts: '2026-01-01T12:00:05.000Z',
      metrics: { temperature: 2, pressure: 7, humidity: 3 },
      metricTimes: { temperature: '2026-01-01T12:00:05.000Z', humidity: '2026-01-01T12:00:00.000Z' },
    });
  });

  it('of all devices is paged and fresh', async () => {
    const pages = await allPages('/api/v1/data?limit=10');
    expect(pages.every(({ body }) => body.stale === false && Date.parse(body.asOf) <= Date.now())).toBe(true);
    expect(dataOf(pages)).toHaveLength(28);
    expect((await api.get('/api/v1/data')).body.covers).toEqual({ count: 28, complete: true });
  });
});

it('readings far ahead of their arrival are marked, and are not the latest state', async () => {
  await store.write([
    reading({ deviceId: 'fast-clock', seq: 1, ts: noon, receivedAt: noon }),
    reading({
      deviceId: 'fast-clock',
      seq: 2,
      ts: noon + 23 * 3_600_000,
      receivedAt: noon + 1,
      metrics: { temperature: 99 },
    }),
  ]);
  const { body } = await api.get('/api/v1/devices/fast-clock/readings?order=asc');
  expect(body.data.map(({ seq, ahead }: any) => [seq, ahead])).toEqual([
    [1, undefined],
    [2, true],
  ]);
  expect((await api.get('/api/v1/devices/fast-clock/latest')).body.metrics).toEqual({ temperature: 20 });
});

describe('the latest state by arrival', () => {
  const latest = async (deviceId: string, by: string) =>
    (await api.get(`/api/v1/devices/${deviceId}/latest?by=${by}`)).body;

  it('is the reading that arrived last, also one whose clock is behind or ahead', async () => {
    const year = 366 * 86_400_000;
    const arriving = (seq: number, ts: number, metrics: object = { x: seq }) =>
      reading({ deviceId: 'clock', seq, ts, receivedAt: noon + seq * 1_000, metrics: metrics as never });
    await store.write([arriving(1, noon), arriving(2, noon + 5_000), arriving(3, noon - year / 4, { y: 3 })]);
    const behind = await latest('clock', 'arrival');
    expect(behind).toEqual({
      deviceId: 'clock',
      ts: new Date(noon - year / 4).toISOString(),
      receivedAt: new Date(noon + 3_000).toISOString(),
      metrics: { y: 3 },
      metricTimes: { y: behind.ts },
    });
    expect(await latest('clock', 'ts')).toMatchObject({
      ts: new Date(noon + 5_000).toISOString(),
      metrics: { x: 2, y: 3 },
    });
    await store.write([arriving(4, noon + 3_600_000)]);
    expect(await latest('clock', 'arrival')).toMatchObject({ ahead: true, metrics: { x: 4 } });
    expect(await latest('clock', 'ts')).not.toHaveProperty('ahead');
  });

  it('is the last of those that arrived together, and 404 where nothing arrived', async () => {
    expect((await latest('repeating', 'arrival')).metrics).toEqual({ index: 41 });
    expect((await api.get('/api/v1/devices/unknown/latest?by=arrival')).status).toBe(404);
    expect((await api.get('/api/v1/devices/clock/latest?by=seq')).body.errors[0].field).toBe('query.by');
  });

  it('is found by the index on arrival, however much the device has sent', async () => {
    const receivedAt = noon + 100_000;
    await store.write([reading({ deviceId: 'chatty', ts: noon, receivedAt })]);
    await store.database.pool.query(
      `insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
       select r.ts + n * interval '1 s', r.received_at - n * interval '1 s', r.seq + n, r.device_key, r.stream_key, r.shape_key, r.numbers
       from readings r join devices d using (device_key), generate_series(1, 20000) as n where d.device_id = 'chatty'`,
    );
    const counted = async (what: 'idx_scan' | 'idx_tup_read', index: string): Promise<number> => {
      const { rows } = await store.database.pool.query(
        `select coalesce(sum(${what}), 0) as count from pg_stat_user_indexes where relname like 'readings%' and indexrelname like $1`,
        [`%${index}%`],
      );
      return Number(rows[0].count);
    };
    const [byArrival, byDevice] = [
      await counted('idx_scan', 'received_at'),
      await counted('idx_tup_read', 'device_key_ts'),
    ];
    // What a connection has counted is seen by others within a second, at the end of a later transaction.
    await eventually(async () => {
      expect((await latest('chatty', 'arrival')).receivedAt).toBe(new Date(receivedAt).toISOString());
      expect(await counted('idx_scan', 'received_at')).toBeGreaterThan(byArrival);
    });
    expect((await counted('idx_tup_read', 'device_key_ts')) - byDevice).toBeLessThan(20_000);
  });
});
