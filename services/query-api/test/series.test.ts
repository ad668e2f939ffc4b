import { insertDevice } from '@fleetwire/store/registry/changes';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl });
const noon = Date.UTC(2026, 0, 1, 12);
const minute = 60_000;

async function register(deviceId: string, of: { readonly type?: string; readonly tags?: string[] }): Promise<void> {
  const state = {
    name: null,
    type: of.type ?? null,
    status: 'active' as const,
    tags: of.tags ?? [],
    location: null,
    metadata: {},
    expectedIntervalMs: null,
    erasedBefore: null,
  };
  await insertDevice(store.database, { deviceId, type: 'device.registered', actor: 'test', state, patch: {} });
}

/** Readings of `deviceId`, one for each `[minutes after noon, metrics]`. */
async function write(deviceId: string, readings: readonly (readonly [number, object])[]): Promise<void> {
  await store.write(
    readings.map(([at, metrics], seq) =>
      reading({
        deviceId,
        seq,
        ts: noon + at * minute,
        receivedAt: noon + at * minute + 50,
        metrics: metrics as never,
      }),
    ),
  );
}

const hour = 'from=2026-01-01T12:00:00Z&to=2026-01-01T13:00:00Z';

async function series(path: string): Promise<any> {
  const { status, body } = await api.get(`/api/v1${path}`);
  expect([status, body.detail]).toEqual([200, undefined]);
  return body;
}

await write('press-1', [
  [-10, { temperature: 10, counter: 90 }],
  [0, { temperature: 20, counter: 100, mode: 'on' }],
  [5, { temperature: 30, counter: 110, mode: 'off' }],
  [20, { temperature: 20, counter: 5, mode: 'off', 'a,b': 1 }],
  [40, { temperature: 'broken', counter: 10, mode: true }],
]);

describe('one device', () => {
  it('is answered in columns, with a gap for an empty bucket', async () => {
    const ask = (agg: string) => series(`/devices/press-1/series?metrics=counter&agg=${agg}&interval=15m&${hour}`);
    const body = await ask('count,sum,avg,min,max,first,last,stddev,p50,p99.9');
    const neighbours = await ask('delta,increase,rate,twavg');
    expect(body).toMatchObject({ interval: '15m', tz: 'UTC', resolution: 'raw' });
    expect(body.t).toEqual([0, 15, 30, 45].map((at) => noon + at * minute));
    expect({ ...body.series[0], ...neighbours.series[0] }).toEqual({
      deviceId: 'press-1',
      metric: 'counter',
      count: [2, 1, 1, 0],
      sum: [210, 5, 10, null],
      avg: [105, 5, 10, null],
      min: [100, 5, 10, null],
      max: [110, 5, 10, null],
      first: [100, 5, 10, null],
      last: [110, 5, 10, null],
      stddev: [Math.sqrt(50), null, null, null],
      p50: [105, 5, 10, null],
      'p99.9': [100 + 0.999 * 10, 5, 10, null],
      delta: [20, -105, 5, null],
      increase: [20, 5, 5, null],
      rate: [20 / 900, 5 / 900, 5 / 1200, null],
      // The value before a bucket holds from its start where it is at most a bucket old.
      twavg: [(100 * 5 + 110 * 10) / 15, (110 * 5 + 5 * 10) / 15, (5 * 10 + 10 * 5) / 15, null].map((value) =>
        value === null ? null : expect.closeTo(value, 9),
      ),
      coveredMs: [15 * minute, 15 * minute, 15 * minute, 0],
    });
  });

  it('has the first, smallest, greatest and last value with their times in m4', async () => {
    const { series: found } = await series(`/devices/press-1/series?metrics=temperature&agg=m4&${hour}`);
    expect(found).toEqual([
      {
        deviceId: 'press-1',
        metric: 'temperature',
        first: [20],
        firstAt: [0],
        min: [20],
        minAt: [0],
        max: [30],
        maxAt: [5 * minute],
        last: [20],
        lastAt: [20 * minute],
      },
    ]);
  });

  it('counts texts and booleans, and tells which values numeric aggregates left out', async () => {
    const { series: found, covers } = await series(
      `/devices/press-1/series?metrics=mode,temperature&agg=count,last,distinct,state,avg&${hour}`,
    );
    expect(found).toMatchObject([
      {
        metric: 'mode',
        count: [4],
        last: [true],
        distinct: [3],
        avg: [null],
        state: [
          [
            { value: 'off', ms: 35 * minute },
            { value: true, ms: 20 * minute },
            { value: 'on', ms: 5 * minute },
          ],
        ],
      },
      { metric: 'temperature', count: [4], last: ['broken'], distinct: [3], avg: [70 / 3] },
    ]);
    expect(covers).toMatchObject({ notNumeric: { mode: 4, temperature: 1 }, values: 8, devices: 1 });
  });

  it('lists no more than 20 states and 1,000 different values, and says so', async () => {
    await write(
      'many-states',
      Array.from({ length: 1_100 }, (_, index) => [index / 100, { code: `c${Math.min(index, 1_050)}` }] as const),
    );
    const { series: found } = await series(
      `/devices/many-states/series?metrics=code&agg=distinct,state&from=2026-01-01T12:00:00Z&to=2026-01-01T12:11:00Z`,
    );
    const [{ distinct, capped, state }] = found;
    expect([distinct, capped]).toEqual([[1_000], [0]]);
    expect(state[0]).toHaveLength(21);
    expect(state[0][0]).toEqual({ value: 'c1050', ms: 50 * 600 });
    expect(state[0][20]).toEqual({ other: true, ms: (1_100 - 50 - 19) * 600 });
  });

  it('has days of 23 and 25 hours where the clock of the zone changes', async () => {
    const spring = Date.UTC(2026, 2, 28, 23);
    const autumn = Date.UTC(2026, 9, 24, 22);
    const hours = Array.from({ length: 80 }, (_, index) =>
      [spring, autumn].map((start) => start + (index - 20) * 60 * minute),
    );
    await store.write(
      hours.flat().map((ts, seq) => reading({ deviceId: 'clock', seq, ts, receivedAt: ts, metrics: { hours: 1 } })),
    );
    const days = async (from: string, to: string, tz = 'Europe/Berlin') => {
      const body = await series(
        `/devices/clock/series?metrics=hours&agg=sum&interval=1d&tz=${tz}&from=${from}&to=${to}`,
      );
      return [body.covers.from, body.series[0].sum, body.covers.partial.filter(({ why }: any) => why === 'bucket-cut')];
    };
    expect(await days('2026-03-29', '2026-03-31')).toEqual(['2026-03-28T23:00:00.000Z', [23, 24], []]);
    expect(await days('2026-10-25', '2026-10-27')).toEqual(['2026-10-24T22:00:00.000Z', [25, 24], []]);
    // 18:30 to 18:30 in UTC.
    expect(await days('2026-03-29', '2026-03-30', 'Asia/Kolkata')).toEqual(['2026-03-28T18:30:00.000Z', [24], []]);
  });

  it('is told which buckets the range cuts, and what is not complete', async () => {
    const { covers } = await series(
      '/devices/press-1/series?metrics=counter&interval=1h&from=2026-01-01T11:55:00Z&to=2026-01-01T12:30:00Z',
    );
    expect(covers).toMatchObject({
      from: '2026-01-01T11:55:00.000Z',
      to: '2026-01-01T12:30:00.000Z',
      completeUntil: null,
      completeWhy: { reason: 'no-edge-known' },
      source: 'raw',
      partial: [
        { from: '2026-01-01T11:00:00.000Z', to: '2026-01-01T12:00:00.000Z', why: 'bucket-cut' },
        { from: '2026-01-01T12:00:00.000Z', to: '2026-01-01T13:00:00.000Z', why: 'bucket-cut' },
      ],
    });
  });

  it('can be asked for a metric whose name has a comma', async () => {
    const { series: found } = await series(`/devices/press-1/series?metric=a%2Cb&metrics=counter&agg=count&${hour}`);
    expect(found).toMatchObject([{ metric: 'counter' }, { metric: 'a,b', count: [1] }]);
  });

  it('is refused where it is unknown, as its only metric is; one of several is listed', async () => {
    expect((await api.get(`/api/v1/devices/nope/series?metrics=a&${hour}`)).status).toBe(404);
    expect((await api.get(`/api/v1/devices/press-1/series?metrics=nope&${hour}`)).status).toBe(404);
    const { covers, series: found } = await series(`/devices/press-1/series?metrics=nope,counter&${hour}`);
    expect(covers.unknown).toEqual([{ metric: 'nope' }]);
    expect(found).toHaveLength(1);
  });

  it('is answered by what is known of it now, whatever was known when the same was asked before', async () => {
    await write('twin-1', [[0, { level: 1 }]]);
    await write('twin-2', [[0, { level: 2 }]]);
    const ask = async () => {
      const { series: found } = await series(`/devices/twin-1/series?metrics=level&agg=sum,count&${hour}`);
      const [{ sum, count }] = found;
      return { sum, count };
    };
    expect(await ask()).toEqual({ sum: [1], count: [1] });
    // The metric stands elsewhere among the numbers of this reading.
    await store.write([
      reading({ deviceId: 'twin-1', seq: 1, ts: noon + minute, metrics: { above: 1, beside: 2, level: 10 } }),
    ]);
    expect(await ask()).toEqual({ sum: [11], count: [2] });
    // The name is that of another device.
    const rename = (from: string, to: string) =>
      store.database.pool.query('update devices set device_id = $2 where device_id = $1', [from, to]);
    await rename('twin-1', 'twin-3');
    await rename('twin-2', 'twin-1');
    expect(await ask()).toEqual({ sum: [2], count: [1] });
  });

  it('may ask for itself only', async () => {
    const token = await tokenFor('device', 'press-1');
    expect((await api.get(`/api/v1/devices/press-1/series?metrics=counter&${hour}`, { token })).status).toBe(200);
    expect((await api.get(`/api/v1/devices/press-2/series?metrics=counter&${hour}`, { token })).status).toBe(403);
    expect((await api.get(`/api/v1/series?pattern=*&metrics=counter&${hour}`, { token })).status).toBe(403);
  });

  it('chooses the interval for a number of points', async () => {
    const body = await series(`/devices/press-1/series?metrics=counter&maxPoints=10&${hour}`);
    expect([body.interval, body.t.length]).toEqual(['10m', 6]);
  });
});

describe('limits', () => {
  it('refuse a question with its cost and the nearest one that is allowed, which is', async () => {
    await store.write(
      Array.from({ length: 3_000 }, (_, seq) =>
        reading({ deviceId: 'busy', seq, ts: noon + seq * 1_000, receivedAt: noon, metrics: { x: seq } }),
      ),
    );
    const limited = await startApi({
      DATABASE_URL: store.databaseUrl,
      QUERY_COST_MAX: '1000',
      DEVICE_QUERY_COST_MAX: '1000',
      ANSWER_NUMBERS_MAX: '1000',
      DEVICE_ANSWER_NUMBERS_MAX: '1000',
      BUCKETS_MAX: '2000',
    });
    const refused = async (path: string) => {
      const { status, body } = await limited.get(`/api/v1/devices/busy/series?metrics=x&${path}`);
      expect([status, body.type]).toEqual([422, 'urn:fleetwire:problem:too-expensive']);
      const nearest = await limited.get(body.nearest.href);
      expect([nearest.status, nearest.body.detail]).toEqual([200, undefined]);
      return { body, nearest: nearest.body };
    };
    const range = 'from=2026-01-01T12:00:00Z&to=2026-01-01T12:50:00Z';
    const rows = await refused(`agg=p95&interval=1m&${range}`);
    expect(rows.body).toMatchObject({
      detail: expect.stringMatching(
        /needs about 30\d\d readings and costs 30\d\d units; one question may cost 1000 units \(QUERY_COST_MAX\)/,
      ),
      cost: { limit: 1_000, numbers: 50, buckets: 50 },
      errors: [{ field: 'query.from', detail: 'is 50 minutes before to; at this cost 16 minutes are allowed' }],
      nearest: { changed: ['from'] },
    });
    expect(rows.nearest.t).toHaveLength(16);
    const numbers = await refused('agg=min,max&interval=1s&from=2026-01-01T12:40:00Z&to=2026-01-01T12:50:00Z');
    expect(numbers.body).toMatchObject({
      detail: expect.stringContaining('1200 numbers; at most 1000 are allowed (ANSWER_NUMBERS_MAX)'),
      errors: [{ field: 'query.interval', detail: 'is 1s; 5s is allowed' }],
      nearest: { changed: ['interval'] },
    });
    const buckets = await refused('interval=1s&from=2026-01-01T12:00:00Z&to=2026-01-01T13:00:00Z&fill=locf');
    expect(buckets.body.detail).toContain('about 3600 buckets; at most 2000 are allowed (BUCKETS_MAX)');
  });

  it('refuse sums beyond the range of a double, and not the smallest value', async () => {
    await write('extreme', [
      [0, { x: 1.7e308, tiny: 5e-324 }],
      [1, { x: 1.7e308, tiny: 5e-324 }],
      [2, { x: -1.7e308, tiny: -5e-324 }],
    ]);
    const asked = async (agg: string, metric = 'x') =>
      api.get(`/api/v1/devices/extreme/series?metrics=${metric}&agg=${agg}&${hour}`);
    for (const agg of ['sum', 'avg', 'stddev', 'p25', 'delta', 'twavg', 'm4,rate']) {
      const { status, body } = await asked(agg);
      expect([agg, status, body.errors?.[0].field]).toEqual([agg, 422, 'query.agg']);
    }
    expect((await asked('min,max,first,last,count,m4,distinct,state')).status).toBe(200);
    expect((await asked('sum,avg,stddev,p75,delta,twavg,rate,increase', 'tiny')).status).toBe(200);
  });

  it('end the statement in Postgres when the client goes', async () => {
    const locked = await store.database.pool.connect();
    await locked.query('begin');
    await locked.query('lock table readings in access exclusive mode');
    const running = async () => {
      const { rows } = await store.database.pool.query(
        `select pid from pg_stat_activity where application_name like 'query-api %' and wait_event_type = 'Lock' and query like '%readings%'`,
      );
      return rows.length;
    };
    const slow = await startApi({
      DATABASE_URL: store.databaseUrl,
      STATEMENT_TIMEOUT_MS: '100000',
      BREAKER_TIMEOUT_MS: '200000',
    });
    const client = new AbortController();
    const asked = fetch(`${slow.url}/api/v1/devices/press-1/series?metrics=counter&${hour}`, {
      headers: { authorization: `Bearer ${await tokenFor('analyst')}` },
      signal: client.signal,
    });
    await eventually(async () => expect(await running()).toBe(1));
    client.abort();
    await expect(asked).rejects.toThrow();
    await eventually(async () => expect(await running()).toBe(0));
    await locked.query('rollback');
    locked.release();
    expect((await slow.get(`/api/v1/devices/press-1/series?metrics=counter&${hour}`)).status).toBe(200);
  });
});

describe('bad input is refused with 400, naming the parameter', () => {
  const q = 'metrics=counter';
  it.each([
    ['', 'query.metrics'],
    ['metrics=', 'query.metrics'],
    [`metrics=${'x,'.repeat(50)}x`, 'query.metrics'],
    [`metrics=${'x'.repeat(129)}`, 'query.metrics'],
    ['metrics=a%00', 'query.metrics'],
    [`${q}&agg=median`, 'query.agg'],
    [`${q}&agg=p100`, 'query.agg'],
    [`${q}&agg=p9.99`, 'query.agg'],
    [`${q}&agg=${encodeURIComponent('avg(x); drop table readings; --')}`, 'query.agg'],
    [`${q}&agg=avg,,sum`, 'query.agg'],
    [`${q}&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z`, 'query.from'],
    [`${q}&from=yesterday`, 'query.from'],
    [`${q}&from=2026-02-30`, 'query.from'],
    [`${q}&to=99999999999999999`, 'query.to'],
    [`${q}&interval=0s`, 'query.interval'],
    [`${q}&interval=1fortnight`, 'query.interval'],
    [`${q}&interval=25h`, 'query.interval'],
    [`${q}&interval=${encodeURIComponent("1d'; select 1")}`, 'query.interval'],
    [`${q}&interval=1h&maxPoints=100`, 'query.maxPoints'],
    [`${q}&maxPoints=9`, 'query.maxPoints'],
    [`${q}&maxPoints=10&from=1970-01-01&to=9999-12-31`, 'query.maxPoints'],
    [`${q}&tz=Mars/Base`, 'query.tz'],
    [`${q}&tz=%2B02:00`, 'query.tz'],
    [`${q}&fill=zero`, 'query.fill'],
    [`${q}&fill=linear&agg=count,avg,m4`, 'query.fill'],
    [`${q}&fillMaxMs=5`, 'query.fillMaxMs'],
    [`${q}&where=counter>NaN`, 'query.where'],
    [`${q}&where=counter>1e999`, 'query.where'],
    [`${q}&where=${encodeURIComponent('counter>1 or 1=1 --')}`, 'query.where'],
    [`${q}&where=counter`, 'query.where'],
    [`${q}&layout=table`, 'query.layout'],
    [`${q}&groupBy=none`, 'query.groupBy'],
    [`${q}&limit=5`, 'query.limit'],
  ])('of one device: %s', async (query, field) => {
    const { status, body } = await api.get(`/api/v1/devices/press-1/series?${query}`);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });

  it('and enormous ranges are answered, or refused with 422', async () => {
    const asked = async (more: string) =>
      (await api.get(`/api/v1/devices/press-1/series?${q}&from=1970-01-01&to=9999-12-31${more}`)).status;
    expect([
      await asked(''),
      await asked('&interval=1y'),
      await asked('&interval=1d'),
      await asked('&interval=1s'),
    ]).toEqual([200, 200, 422, 422]);
  });

  it('and text that is none of SQL stays text', async () => {
    const metric = encodeURIComponent(`'); drop table readings; --`);
    expect((await api.get(`/api/v1/devices/press-1/series?metrics=${metric}&where=${metric}>1&${hour}`)).status).toBe(
      404,
    );
  });
});

describe('many devices', () => {
  const selections = 'metrics=speed&from=2026-01-01T12:00:00Z&to=2026-01-01T12:10:00Z';

  it('are selected by id, pattern, tag and type, which all apply, and are answered one by one', async () => {
    await register('fan-1', { type: 'fan', tags: ['site:north', 'line:1'] });
    await register('fan-2', { type: 'fan', tags: ['site:south', 'site:north'] });
    await register('saw-1', { type: 'saw', tags: ['site:south'] });
    await write('fan-1', [
      [0, { speed: 1, total: 100 }],
      [5, { speed: 3, total: 110 }],
    ]);
    await write('fan-2', [
      [1, { speed: 10, total: 0 }],
      [6, { speed: 20, total: 5 }],
    ]);
    await write('saw-1', [[2, { speed: 100, total: 7 }]]);
    await write('fan_1', [[2, { speed: 1_000 }]]);
    const selected = async (selection: string) => {
      const body = await series(`/series?${selection}&${selections}&agg=max`);
      return Object.fromEntries(body.series.map((one: any) => [one.deviceId, one.max[0]]));
    };
    expect(await selected('devices=fan-1,saw-1')).toEqual({ 'fan-1': 3, 'saw-1': 100 });
    expect(await selected('pattern=fan-*')).toEqual({ 'fan-1': 3, 'fan-2': 20 });
    expect(await selected('pattern=fan%3F1')).toEqual({ 'fan-1': 3, fan_1: 1_000 });
    expect(await selected('tag=site:south')).toEqual({ 'fan-2': 20, 'saw-1': 100 });
    expect(await selected('type=fan')).toEqual({ 'fan-1': 3, 'fan-2': 20 });
    expect(await selected('type=fan&tag=site:south&pattern=*2')).toEqual({ 'fan-2': 20 });
    expect(await selected('type=none-has-it')).toEqual({});
  });

  it('are grouped by tag, type, or all together: values as one, rates added, differences averaged', async () => {
    const grouped = async (groupBy: string) =>
      (await series(`/series?pattern=*-*&tag=site:north&${selections}&agg=count,avg,first,p50&groupBy=${groupBy}`))
        .series;
    expect(await grouped('none')).toEqual([
      { group: {}, devices: 2, metric: 'speed', count: [4], avg: [8.5], first: [1], p50: [6.5] },
    ]);
    expect(await grouped('tag:site')).toMatchObject([
      { group: { site: 'north' }, devices: 2, count: [4], avg: [8.5] },
      { group: { site: 'south' }, devices: 1, count: [2], avg: [15] },
    ]);
    expect(await grouped('tag:line')).toMatchObject([
      { group: { line: '1' }, devices: 1, count: [2] },
      { group: { line: null }, devices: 1, count: [2] },
    ]);
    expect(await grouped('type')).toMatchObject([{ group: { type: 'fan' }, devices: 2 }]);
    const counters = selections.replace('speed', 'total');
    const neighbours = await series(
      `/series?devices=fan-1,fan-2&${counters}&agg=increase,rate,delta,twavg&groupBy=none`,
    );
    expect(neighbours.series).toEqual([
      {
        group: {},
        devices: 2,
        metric: 'total',
        increase: [15],
        rate: [10 / 300 + 5 / 300],
        delta: [7.5],
        twavg: [(105 + (5 * 4) / 9) / 2],
        coveredMs: [9.5 * minute],
      },
    ]);
  });

  it('are asked by a body as well, where thousands may be named', async () => {
    const devices = Array.from({ length: 10_000 }, (_, index) => `none-${index}`);
    const body = {
      devices: [...devices.slice(1), 'fan-1'],
      metrics: ['speed'],
      agg: ['max'],
      from: '2026-01-01',
      to: '2026-01-02',
    };
    const ask = (question: object) => api.get('/api/v1/series/query', { method: 'POST', body: question });
    const answer = await ask(body);
    expect(answer.status).toBe(200);
    expect(answer.body.series).toEqual([{ deviceId: 'fan-1', metric: 'speed', max: [3] }]);
    expect(answer.body.covers.unknown).toHaveLength(9_999);
    const bad = async (change: object) => {
      const { status, body: problem } = await ask({ ...body, ...change });
      return [status, problem.errors[0].field];
    };
    expect(await bad({ devices: [...devices, 'one-more'] })).toEqual([422, 'body.devices']);
    expect(await bad({ devices: undefined })).toEqual([400, 'body.devices']);
    expect(await bad({ metrics: undefined })).toEqual([400, 'body']);
    expect(await bad({ agg: ['mean'] })).toEqual([400, 'body.agg']);
    expect(await bad({ where: ['speed>NaN'] })).toEqual([400, 'body.where']);
    expect(await bad({ from: '2026-01-03' })).toEqual([400, 'body.from']);
    expect(await bad({ maxPoints: 10.5 })).toEqual([400, 'body.maxPoints']);
    expect(await bad({ limit: 1 })).toEqual([400, 'body.limit']);
  });

  it.each([
    ['metrics=speed', 'query.devices'],
    ['devices=fan-1&groupBy=tag', 'query.groupBy'],
    ['devices=fan-1&groupBy=tag:', 'query.groupBy'],
    [`devices=${Array.from({ length: 101 }, (_, index) => `d${index}`).join(',')}`, 'query.devices'],
    [`pattern=${'*'.repeat(5)}`, 'query.pattern'],
    [`pattern=${'x'.repeat(129)}`, 'query.pattern'],
    ["pattern=%25'", 'query.pattern'],
    ['tag=a%20b', 'query.tag'],
    ['type=%00', 'query.type'],
    ['devices=fan 1', 'query.devices'],
  ])('refused with 400: %s', async (query, field) => {
    const { status, body } = await api.get(
      `/api/v1/series?${query}${query.includes('metrics') ? '' : '&metrics=speed'}`,
    );
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });

  it('are refused with 422 where they make too many series', async () => {
    const limited = await startApi({ DATABASE_URL: store.databaseUrl, SERIES_MAX: '3' });
    const { status, body } = await limited.get(`/api/v1/series?pattern=fan*&metrics=speed,total`);
    expect([status, body.errors]).toEqual([
      422,
      [{ field: 'query.pattern', detail: 'selects 3 devices, with 2 metrics 6 series; at most 3 (SERIES_MAX)' }],
    ]);
  });
});

describe('filters, fills and rows', () => {
  const ofTen = 'metrics=level&interval=10m&from=2026-01-01T12:00:00Z&to=2026-01-01T13:00:00Z';

  it('keep the readings whose metrics are such numbers', async () => {
    await write('tank', [
      [-15, { level: 4, valve: 1 }],
      [1, { level: 10, valve: 1 }],
      [2, { level: 20, valve: 0 }],
      [3, { level: 30, valve: 'stuck' }],
      [31, { level: 40, valve: 2 }],
      [32, { level: 60 }],
    ]);
    const counted = async (where: string) =>
      (await series(`/devices/tank/series?${ofTen}&agg=count,sum&${where}`)).series[0];
    expect(await counted('where=valve>=1')).toMatchObject({
      count: [1, 0, 0, 1, 0, 0],
      sum: [10, null, null, 40, null, null],
    });
    expect(await counted('where=valve>=1&where=level<15.5')).toMatchObject({ count: [1, 0, 0, 0, 0, 0] });
    expect(await counted('where=valve!=1')).toMatchObject({ count: [1, 0, 0, 1, 0, 0] });
    expect(await counted('where=valve=-0')).toMatchObject({
      count: [1, 0, 0, 0, 0, 0],
      sum: [20, null, null, null, null, null],
    });
  });

  it('fill nothing, leave out, repeat or draw a line, and tell what was filled', async () => {
    const filled = async (more: string) => {
      const { t, series: found } = await series(`/devices/tank/series?${ofTen}&agg=avg,max&${more}`);
      return { minutes: t.map((at: number) => (at - noon) / minute), ...found[0] };
    };
    expect(await filled('fill=null')).toMatchObject({ avg: [20, null, null, 50, null, null] });
    expect(await filled('fill=none')).toMatchObject({ minutes: [0, 30], avg: [20, 50] });
    expect(await filled('fill=locf')).toMatchObject({
      avg: [20, 20, 20, 50, 50, 50],
      max: [30, 30, 30, 60, 60, 60],
      filled: [
        [1, 3],
        [4, 6],
      ],
    });
    expect(await filled('fill=locf&fillMaxMs=600000')).toMatchObject({ avg: [20, 20, null, 50, 50, null] });
    expect(await filled('fill=linear')).toMatchObject({ avg: [20, 30, 40, 50, null, null], filled: [[1, 3]] });
    expect(
      (await api.get(`/api/v1/devices/press-1/series?metrics=mode&agg=last&fill=linear&${hour}`)).body.errors,
    ).toEqual([
      { field: 'query.fill', detail: 'is linear, but last of "mode" has values that are not numbers; use locf' },
    ]);
  });

  it('repeat a value from before the range, and the times of m4 are before the bucket then', async () => {
    const early = ofTen.replace('12:00', '11:50').replace('13:00', '12:10');
    const { series: found } = await series(`/devices/tank/series?${early}&agg=count,last&fill=locf`);
    expect(found[0]).toMatchObject({ count: [0, 3], last: [4, 30], filled: [[0, 1]] });
    // The range begins after the value, in its bucket.
    const cut = ofTen.replace('12:00', '11:47');
    const { series: after } = await series(`/devices/tank/series?${cut}&agg=m4&fill=locf`);
    expect(after[0]).toMatchObject({
      first: [4, 4, 10, 10, 10, 40, 40, 40],
      firstAt: [5, -5, 1, -9, -19, 1, -9, -19].map((at) => at * minute),
    });
  });

  it('are laid out in rows, one for each bucket and series', async () => {
    const { rows, t } = await series(`/devices/tank/series?${ofTen}&agg=avg&layout=rows&fill=none`);
    expect(t).toBeUndefined();
    expect(rows).toEqual([
      { t: '2026-01-01T12:00:00.000Z', deviceId: 'tank', metric: 'level', avg: 20 },
      { t: '2026-01-01T12:30:00.000Z', deviceId: 'tank', metric: 'level', avg: 50 },
    ]);
    const filled = await series(`/devices/tank/series?${ofTen}&agg=avg&layout=rows&fill=locf`);
    expect(filled.rows).toHaveLength(6);
    expect(filled.rows[1]).toMatchObject({ t: '2026-01-01T12:10:00.000Z', avg: 20, filled: true });
  });
});
