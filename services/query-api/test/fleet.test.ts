import { insertDevice } from '@fleetwire/store/registry/changes';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl });
const noon = Date.UTC(2026, 0, 1, 12);
const minute = 60_000;

await insertDevice(store.database, {
  deviceId: 'pump-1',
  type: 'device.registered',
  actor: 'test',
  patch: {},
  state: {
    name: null,
    type: 'pump',
    status: 'active',
    tags: ['site:north'],
    location: null,
    metadata: {},
    expectedIntervalMs: 10 * minute,
    erasedBefore: null,
  },
});

/** Readings of `deviceId`, one for each `[minutes after noon, metrics]`; `changes` of each. */
async function write(
  deviceId: string,
  readings: readonly (readonly [number, object])[],
  changes: (index: number) => object = () => ({}),
): Promise<void> {
  await store.write(
    readings.map(([at, metrics], seq) =>
      reading({
        deviceId,
        seq,
        ts: noon + at * minute,
        receivedAt: noon + at * minute + 50,
        metrics: metrics as never,
        ...changes(seq),
      }),
    ),
  );
}

await write('pump-1', [
  [0, { flow: 10, 'a,b': 1 }],
  [10, { flow: 30 }],
  [40, { flow: 20, mode: 'on' }],
  [50, { flow: 'stuck' }],
]);
await write('pump-2', [
  [0, { flow: 30 }],
  [30, { flow: 5 }],
]);
await write('pump-3', [[5, { flow: -3.5 }]]);
await write('fan-1', [[1, { speed: 900 }]]);

const hour = 'from=2026-01-01T12:00:00Z&to=2026-01-01T13:00:00Z';

async function get(path: string): Promise<any> {
  const { status, body } = await api.get(`/api/v1${path}`);
  expect([status, body.detail]).toEqual([200, undefined]);
  return body;
}

describe('the devices with the greatest aggregate', () => {
  it('are ranked with value and time, equal ones by id', async () => {
    const { data, covers, metric, agg } = await get(`/top?metrics=flow&agg=max&n=2&${hour}`);
    expect({ metric, agg, data }).toEqual({
      metric: 'flow',
      agg: 'max',
      data: [
        { rank: 1, deviceId: 'pump-1', value: 30, at: '2026-01-01T12:10:00.000Z', count: 3 },
        { rank: 2, deviceId: 'pump-2', value: 30, at: '2026-01-01T12:00:00.000Z', count: 2 },
      ],
    });
    expect(covers).toMatchObject({ devices: 4, source: 'raw', notNumeric: { flow: 1 } });
    const smallest = await get(`/top?metrics=flow&order=asc&n=1&${hour}`);
    expect(smallest.data).toEqual([{ rank: 1, deviceId: 'pump-3', value: -3.5, count: 1 }]);
    const median = await get(`/top?metrics=flow&agg=p50&pattern=pump-*&${hour}`);
    expect(median.data.map(({ value }: any) => value)).toEqual([20, 17.5, -3.5]);
  });

  it('may be groups', async () => {
    const { data } = await get(`/top?metrics=flow&agg=sum&by=tag:site&${hour}`);
    expect(data).toEqual([
      { rank: 1, group: { site: 'north' }, devices: 1, value: 60, count: 3 },
      { rank: 2, group: { site: null }, devices: 3, value: 31.5, count: 3 },
    ]);
  });

  it.each([
    ['', 'query.metrics'],
    ['metrics=a,b', 'query.metrics'],
    ['metrics=a&metric=b', 'query.metrics'],
    ['metrics=flow&agg=m4', 'query.agg'],
    ['metrics=flow&agg=mean', 'query.agg'],
    ['metrics=flow&by=none', 'query.by'],
    ['metrics=flow&n=1001', 'query.n'],
    ['metrics=flow&order=up', 'query.order'],
    ['metrics=flow&from=now&to=now-1d', 'query.from'],
    ['metrics=flow&interval=1h', 'query.interval'],
  ])('bad input is refused with 400: %s', async (query, field) => {
    const { status, body } = await api.get(`/api/v1/top?${query}`);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });
});

describe('a histogram', () => {
  it('counts values in bins of equal length, the greatest in the last', async () => {
    const { edges, counts, below, above, covers } = await get(`/histogram?metrics=flow&bins=2&tag=site:north&${hour}`);
    expect({ edges, counts, below, above }).toEqual({ edges: [10, 20, 30], counts: [1, 2], below: 0, above: 0 });
    expect(covers).toMatchObject({ devices: 1, values: 3, source: 'raw' });
  });

  it('has the bins of given edges, and what lies below and above; with an interval for each bucket', async () => {
    const { edges, counts, below, above } = await get(`/histogram?metrics=flow&edges=0,10,30&pattern=pump-*&${hour}`);
    expect({ edges, counts, below, above }).toEqual({ edges: [0, 10, 30], counts: [1, 2], below: 1, above: 2 });
    const heat = await get(`/histogram?metrics=flow&edges=0,25,50&interval=30m&${hour}`);
    expect(heat).toMatchObject({
      t: [noon, noon + 30 * minute],
      counts: [
        [1, 2],
        [2, 0],
      ],
      below: [1, 0],
      above: [0, 0],
    });
  });

  it('of equal values has one bin, and of none has none', async () => {
    const one = await get(`/histogram?metrics=speed&${hour}`);
    expect([one.edges, one.counts]).toEqual([[900, 900], [1]]);
    const none = await get('/histogram?metrics=speed&from=2025-01-01&to=2025-01-02');
    expect([none.edges, none.counts]).toEqual([[], []]);
    expect((await api.get(`/api/v1/histogram?metrics=nope&${hour}`)).status).toBe(404);
  });

  it.each([
    ['metrics=flow&bins=0', 'query.bins'],
    ['metrics=flow&bins=501', 'query.bins'],
    ['metrics=flow&bins=5&edges=1,2', 'query.bins'],
    ['metrics=flow&edges=1', 'query.edges'],
    ['metrics=flow&edges=2,1', 'query.edges'],
    ['metrics=flow&edges=1,NaN', 'query.edges'],
    ['metrics=flow&edges=1,1e999', 'query.edges'],
    ['metrics=flow&where=flow>x', 'query.where'],
  ])('refuses bad input with 400: %s', async (query, field) => {
    const { status, body } = await api.get(`/api/v1/histogram?${query}`);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });
});

describe('completeness', () => {
  it('is expected against stored readings, with gaps in sequence and time', async () => {
    await write(
      'gappy',
      Array.from({ length: 30 }, (_, index) => [60 + index, { x: index }] as const),
      (index) => ({ seq: index < 10 ? index : index + 5, ts: noon + (60 + index + (index < 20 ? 0 : 20)) * minute }),
    );
    const { data, t, interval } = await get(
      '/completeness?devices=gappy,pump-1&interval=30m&from=2026-01-01T13:00:00Z&to=2026-01-01T14:00:00Z',
    );
    expect([interval, t]).toEqual(['30m', [noon + 60 * minute, noon + 90 * minute]]);
    expect(data).toEqual([
      {
        deviceId: 'gappy',
        expectedIntervalMs: minute,
        estimated: true,
        expected: 60,
        stored: 30,
        share: 0.5,
        lastTs: '2026-01-01T13:49:00.000Z',
        silentMs: 11 * minute,
        silent: true,
        sequenceMissing: 5,
        timeGaps: [
          { from: '2026-01-01T13:19:00.000Z', to: '2026-01-01T13:40:00.000Z' },
          { from: '2026-01-01T13:49:00.000Z', to: '2026-01-01T14:00:00.000Z' },
        ],
        timeGapCount: 2,
        deadLetters: 0,
        storedIn: [20, 10],
        shareIn: [0.6667, 0.3333],
      },
      {
        deviceId: 'pump-1',
        expectedIntervalMs: 10 * minute,
        estimated: false,
        expected: 6,
        stored: 0,
        share: 0,
        lastTs: '2026-01-01T12:50:00.000Z',
        silentMs: 70 * minute,
        silent: true,
        sequenceMissing: 0,
        timeGaps: [{ from: '2026-01-01T13:00:00.000Z', to: '2026-01-01T14:00:00.000Z' }],
        timeGapCount: 1,
        deadLetters: 0,
        storedIn: [0, 0],
        shareIn: [0, 0],
      },
    ]);
  });

  it('finds devices that are silent for longer than they usually are, without a registered interval', async () => {
    // The last of each is at 15:00, 15:04 and 15:06: of every minute, of every 5 minutes, and a single one.
    const every = async (deviceId: string, length: number, last: number, count = 20) =>
      write(
        deviceId,
        Array.from({ length: count }, (_, index) => [last - (count - 1 - index) * length, { x: 1 }] as const),
      );
    await every('hushed', 1, 180);
    await every('slow', 5, 184);
    await every('single', 1, 186, 1);
    const at = async (time: string, query = '') => {
      const { data } = await get(
        `/completeness?devices=hushed,slow,single&from=2026-01-01T15:06:01Z&to=${time}${query}`,
      );
      return data.map(({ deviceId, estimated, silentMs, silent }: any) => [
        deviceId,
        estimated,
        silentMs / minute,
        silent,
      ]);
    };
    expect(await at('2026-01-01T15:08:00Z')).toEqual([
      ['hushed', true, 8, true],
      ['single', true, 2, null],
      ['slow', true, 4, false],
    ]);
    expect(await at('2026-01-01T15:20:00Z', '&silent=true')).toEqual([
      ['hushed', true, 20, true],
      ['slow', true, 16, true],
    ]);
    expect(await at('2026-01-01T15:08:00Z', '&silent=false')).toEqual([['slow', true, 4, false]]);
    // At the time of its last reading a device is not silent, whatever it was before.
    expect((await at('2026-01-01T15:06:30Z'))[1]).toEqual(['single', true, 0.5, null]);
  });

  it('expects nothing of the future, and nothing of a device with one reading', async () => {
    const { data } = await get('/completeness?devices=pump-3,fan-1&from=now-1m&to=now%2B1d');
    expect(data.map(({ expected, expectedIntervalMs }: any) => [expected, expectedIntervalMs])).toEqual([
      [null, null],
      [null, null],
    ]);
    expect((await api.get('/api/v1/completeness?devices=nope')).status).toBe(404);
    expect((await api.get('/api/v1/completeness?metrics=x')).status).toBe(400);
  });
});

describe('readings of many devices', () => {
  const wanted = ['pump-1', 'pump-2', 'pump-3'];
  const all = async (query: string) => {
    const found: any[] = [];
    for (let next = ''; ;) {
      const { data, page } = await get(`/readings?pattern=pump-*&${query}${next}`);
      found.push(...data);
      if (page.next === null) return found;
      next = `&cursor=${encodeURIComponent(page.next)}`;
    }
  };
  const placeOf = ({ deviceId, ts }: any) => `${deviceId} ${(Date.parse(ts) - noon) / minute}`;
  const oldestFirst = ['pump-1 0', 'pump-2 0', 'pump-3 5', 'pump-1 10', 'pump-2 30', 'pump-1 40', 'pump-1 50'];

  it.each([1, 2, 500])('are paged by %i in one order, also where times are equal', async (limit) => {
    expect((await all(`limit=${limit}&order=asc`)).map(placeOf)).toEqual(oldestFirst);
    expect((await all(`limit=${limit}&order=desc`)).map(placeOf)).toEqual(oldestFirst.toReversed());
    expect((await all(`limit=${limit}&order=asc&by=receivedAt`)).map(placeOf)).toEqual(oldestFirst);
  });

  it('have the device, and may be selected by metric, time and arrival', async () => {
    expect((await all('metric=a%2Cb')).map(({ deviceId, metrics }) => [deviceId, metrics])).toEqual([
      ['pump-1', { 'a,b': 1 }],
    ]);
    expect((await all(`order=asc&from=2026-01-01T12:05:00Z&to=2026-01-01T12:40:00Z`)).map(placeOf)).toEqual(
      oldestFirst.slice(2, 5),
    );
    expect((await all(`order=asc&ingestedSince=2026-01-01T12:30:00Z`)).map(placeOf)).toEqual(oldestFirst.slice(4));
    const late = reading({ deviceId: 'pump-3', seq: 77, ts: noon, receivedAt: noon + 90 * minute });
    await store.write([late]);
    expect((await all('by=receivedAt&limit=1')).map(placeOf)[0]).toBe('pump-3 0');
    expect(new Set((await all('limit=3')).map(({ deviceId }) => deviceId))).toEqual(new Set(wanted));
  });

  it('may have whole numbers beyond 2^53 as texts', async () => {
    await write('big', [[0, { x: 2 ** 60, y: -(2 ** 53), z: 2 ** 53 - 1, half: 0.5 }]]);
    const asked = async (numbers: string) => (await get(`/readings?devices=big&numbers=${numbers}`)).data[0].metrics;
    expect(await asked('text')).toEqual({
      x: '1152921504606846976',
      y: '-9007199254740992',
      z: 9007199254740991,
      half: 0.5,
    });
    expect(await asked('json')).toEqual({ x: 2 ** 60, y: -(2 ** 53), z: 2 ** 53 - 1, half: 0.5 });
    const own = await get('/devices/big/readings?numbers=text');
    expect(own.data[0].metrics.x).toBe('1152921504606846976');
  });

  it.each([
    ['', 'query.devices'],
    ['pattern=*&by=seq', 'query.by'],
    ['pattern=*&limit=5001', 'query.limit'],
    ['pattern=*&numbers=hex', 'query.numbers'],
    ['pattern=*&ingestedSince=soon', 'query.ingestedSince'],
    ['pattern=*&cursor=abc', 'query.cursor'],
    ['pattern=*&format=csv&by=receivedAt', 'query.by'],
    ['pattern=*&from=now&to=now-1d', 'query.from'],
  ])('are refused bad input with 400: %s', async (query, field) => {
    const { status, body } = await api.get(`/api/v1/readings?${query}`);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });

  it('a range with too many readings is not searched by arrival, and no device may ask for the fleet', async () => {
    await write(
      'many',
      Array.from({ length: 300 }, (_, index) => [index / 5, { m: index }] as const),
    );
    const limited = await startApi({
      DATABASE_URL: store.databaseUrl,
      QUERY_COST_MAX: '100',
      DEVICE_QUERY_COST_MAX: '100',
    });
    expect((await limited.get('/api/v1/readings?pattern=*&limit=1')).status).toBe(200);
    const { status, body } = await limited.get('/api/v1/readings?pattern=*&by=receivedAt');
    expect([status, body.errors[0].field]).toEqual([422, 'query.from']);
    const top = await limited.get(`/api/v1/top?metrics=m&agg=p50&${hour}`);
    expect([top.status, top.body.nearest.href]).toEqual([422, expect.stringContaining('/api/v1/top?')]);
    expect((await limited.get(top.body.nearest.href)).status).toBe(200);
    const token = await tokenFor('device', 'pump-1');
    for (const path of ['readings?pattern=*', 'top?metrics=flow', 'histogram?metrics=flow', 'completeness'])
      expect([path, (await api.get(`/api/v1/${path}`, { token })).status]).toEqual([path, 403]);
  });
});

describe('series', () => {
  it('are compared with the same buckets one offset earlier', async () => {
    const { series, t } = await get(
      '/devices/pump-1/series?metrics=flow&agg=avg,count&interval=30m&offset=30m&from=2026-01-01T12:30:00Z&to=2026-01-01T13:30:00Z',
    );
    expect(t).toEqual([noon + 30 * minute, noon + 60 * minute]);
    expect(series).toEqual([
      {
        deviceId: 'pump-1',
        metric: 'flow',
        avg: [20, null],
        count: [2, 0],
        before: { avg: [20, 20], count: [2, 2] },
      },
    ]);
    const { rows } = await get(
      '/devices/pump-1/series?metrics=flow&agg=max&interval=1d&tz=Europe/Berlin&offset=1d&from=2026-01-02&to=2026-01-03&layout=rows',
    );
    expect(rows).toMatchObject([{ t: '2026-01-01T23:00:00.000Z', max: null, before: { max: 30 } }]);
  });

  it('are downsampled to stored values that keep the first, the last and the extremes', async () => {
    const waves = Array.from(
      { length: 2_000 },
      (_, index) => [index / 100, { wave: Math.sin(index / 50) + (index === 777 ? 9 : 0) }] as const,
    );
    await write('wave', waves);
    const { series } = await get(
      '/devices/wave/series?metrics=wave&downsample=lttb&maxPoints=50&from=2026-01-01T12:00:00Z&to=2026-01-01T12:20:00Z',
    );
    const [{ t, value }] = series;
    expect([t.length, value.length]).toEqual([50, 50]);
    expect(t).toEqual(t.toSorted((a: number, b: number) => a - b));
    expect([t[0], t.at(-1)]).toEqual([noon, noon + 19.99 * minute]);
    expect(Math.max(...value)).toBe(Math.sin(777 / 50) + 9);
    const stored = new Map(waves.map(([at, metrics]) => [Math.round(noon + at * minute), metrics.wave]));
    expect(t.map((at: number) => stored.get(at))).toEqual(value);
  });

  it.each([
    ['offset=7', 'query.offset'],
    ['offset=11y', 'query.offset'],
    ['downsample=lttb', 'query.maxPoints'],
    ['downsample=lttb&maxPoints=10&agg=avg', 'query.agg'],
    ['downsample=m4&maxPoints=10', 'query.downsample'],
  ])('refuse bad input with 400: %s', async (query, field) => {
    const { status, body } = await api.get(`/api/v1/devices/pump-1/series?metrics=flow&${query}`);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });
});
