import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { tableFromIPC } from '@uwdata/flechette';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { parquetReadObjects } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { formatOf } from '../src/exports/formats.ts';
import { openReadingsTable } from '../src/exports/readings-table.ts';
import { writeExport } from '../src/exports/write-export.ts';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const start = Date.UTC(2026, 10, 16);
const at = (ms: number) => new Date(start + ms).toISOString();
const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_STREAMS_PER_CALLER_MAX: '4' });
const analyst = await tokenFor('analyst');

await store.write([
  reading({
    seq: 2,
    ts: start + 2_000,
    receivedAt: start + 2_040,
    metrics: { temperature: 0.1 + 0.2, state: 'a "b", c' },
  }),
  reading({ seq: 1, ts: start + 1_000, receivedAt: start + 1_040, metrics: { temperature: -5e-324, on: true } }),
  reading({ seq: 3, ts: start + 3_000, receivedAt: start + 3_040, metrics: { state: '', mixed: 7, ts: 1 } }),
  reading({ seq: 4, ts: start + 4_000, receivedAt: start + 4_040, metrics: { mixed: { a: ['1', null] } } }),
  reading({
    deviceId: 'pump-2',
    seq: 1,
    ts: start + 1_500,
    receivedAt: start + 9_000,
    metrics: { temperature: 2 ** 53 },
  }),
]);
/** Enough that neither the sockets nor the buffers of both sides hold an answer. */
const manyRows = 200_000;
await store.write([reading({ deviceId: 'large-1', epoch: 'e', ts: start })]);
await store.database.pool.query(
  `insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
   select r.ts + n * interval '1 s', r.received_at, n, r.device_key, r.stream_key, r.shape_key, array[n / 7.0]
   from readings r join devices d on d.device_key = r.device_key, generate_series(1, $1::int) as n
   where d.device_id = 'large-1'`,
  [manyRows],
);

/** Many metrics in all, few in each reading. */
await store.write(
  Array.from({ length: 20 }, (_, n) =>
    reading({
      deviceId: 'wide-1',
      seq: n,
      ts: start + 60_000 + n,
      metrics: Object.fromEntries(Array.from({ length: 99 }, (_, m) => [`m${n}.${m}`, m])),
    }),
  ),
);
await store.database.pool.query(
  `insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
   select r.ts, r.received_at, 100 + n, r.device_key, r.stream_key, r.shape_key, r.numbers
   from readings r join devices d on d.device_key = r.device_key, generate_series(1, 2600) as n
   where d.device_id = 'wide-1' and r.seq = 0`,
);
await store.write([
  reading({ deviceId: 'names-1', seq: 1, ts: start + 60_000, metrics: { toString: 1, valueOf: 'a' } }),
  reading({ deviceId: 'names-1', seq: 2, ts: start + 60_001, metrics: { other: 2 } }),
]);

/** Readings of which neither the sockets nor the buffers of both sides hold one. */
await store.write([1, 2].map((seq) => reading({ deviceId: 'long-1', seq, ts: start + 60_000 + seq })));
const oneLong = `/devices/long-1/readings?format=ndjson&to=${start + 60_002}`;
await store.database.pool.query(
  `update readings r set others = jsonb_build_object('text', repeat('x', 8000000)) from devices d
   where d.device_key = r.device_key and d.device_id = 'long-1'`,
);
/** Metrics that are called as columns of an export are. */
const columnMetrics = { ts: 1, 'metrics.ts': 2, 'metrics.metrics.ts': 3, 'metrics.other': 4 };
await store.write([reading({ deviceId: 'columns-1', seq: 1, ts: start + 60_000, metrics: columnMetrics })]);

async function get(path: string, headers: Record<string, string> = {}, url = api.url): Promise<Response> {
  return fetch(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${analyst}`, ...headers } });
}

const pump = '/devices/pump-1/readings';
const zstd = { compressors: { ZSTD: (input: Uint8Array) => new Uint8Array(zstdDecompressSync(input)) } };

async function parquetRows(file: ArrayBuffer) {
  return parquetReadObjects({ file, ...zstd });
}

describe('an export of readings', () => {
  it('is CSV with a column for each metric, oldest first, exact numbers and quoted texts', async () => {
    const response = await get(`${pump}?format=csv`);
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="pump-1.csv"');
    expect((await response.text()).split('\r\n')).toEqual([
      'deviceId,ts,epoch,seq,receivedAt,mixed,on,state,temperature,metrics.ts',
      `pump-1,${at(1_000)},boot-1,1,${at(1_040)},,true,,-5e-324,`,
      `pump-1,${at(2_000)},boot-1,2,${at(2_040)},,,"a ""b"", c",0.30000000000000004,`,
      `pump-1,${at(3_000)},boot-1,3,${at(3_040)},7,,"",,1`,
      `pump-1,${at(4_000)},boot-1,4,${at(4_040)},"{""a"":[""1"",null]}",,,,`,
      '',
    ]);
    const newestFirst = await (await get(`${pump}?order=desc&metrics=temperature`, { accept: 'text/csv' })).text();
    expect(newestFirst.split('\r\n').map((line) => line.split(',')[3])).toEqual(['seq', '2', '1', undefined]);
  });

  it('is NDJSON and JSON with the count of readings at the end', async () => {
    const lines = (await (await get(`${pump}?format=ndjson`)).text()).trimEnd().split('\n');
    const documents = lines.map((line) => JSON.parse(line));
    expect(documents.at(-1)).toEqual({ end: { count: 4, completeUntil: null } });
    expect(documents[2]).toEqual({
      deviceId: 'pump-1',
      ts: at(3_000),
      epoch: 'boot-1',
      seq: 3,
      receivedAt: at(3_040),
      metrics: { state: '', mixed: 7, ts: 1 },
    });
    const { data, end } = (await (await get(`${pump}?format=json`)).json()) as { data: object[]; end: object };
    expect(data).toEqual(documents.slice(0, -1));
    expect(end).toEqual({ count: 4, completeUntil: null });
  });

  it('is Parquet and Arrow with a type for each column', async () => {
    const wide = await get(`${pump}?format=parquet`);
    expect(wide.headers.get('content-type')).toBe('application/vnd.apache.parquet');
    const expected = {
      deviceId: 'pump-1',
      epoch: 'boot-1',
      seq: 3n,
      ts: new Date(start + 3_000),
      receivedAt: new Date(start + 3_040),
      state: '',
      mixed: '7',
      'metrics.ts': 1,
    };
    const rows = await parquetRows(await wide.arrayBuffer());
    expect(rows[2]).toEqual(expect.objectContaining(expected));
    expect(rows.map(({ temperature }) => temperature ?? null)).toEqual([-5e-324, 0.1 + 0.2, null, null]);
    expect(rows[0]?.['on']).toBe(true);
    const arrow = tableFromIPC(await (await get(`${pump}?format=arrow`)).arrayBuffer(), {
      useDate: true,
      useBigInt: true,
    });
    expect(arrow.toArray()[2]).toEqual(expect.objectContaining(expected));
    expect(arrow.getChild('temperature').toArray()[1]).toBe(0.1 + 0.2);
  });

  it('has a row for each value in the long layout', async () => {
    const text = await (await get(`${pump}?format=csv&layout=long&from=${start + 2_000}&to=${start + 4_000}`)).text();
    expect(text.split('\r\n').map((line) => line.split(',').slice(5).join(','))).toEqual(
      [
        'metric,value,text',
        'temperature,0.30000000000000004,',
        'state,,"a ""b"", c"',
        'mixed,7,',
        'ts,1,',
        'state,,""',
        '',
      ].sort((a, b) => (a === 'metric,value,text' ? -1 : b === 'metric,value,text' ? 1 : 0)),
    );
  });

  it.each([
    ['pattern=pump-*', 5],
    ['devices=pump-2,nothing', 1],
    ['pattern=nothing*', 0],
    [`pattern=*&to=${start + 2_000}`, 2 + 2],
    [`pattern=pump-*&metrics=${encodeURIComponent(`it's\\"`)}`, 0],
    ['pattern=pump-*&metrics=on,mixed', 3],
  ])('has the readings of all devices of the selection: %s', async (selection, count) => {
    const response = await get(`/readings?format=ndjson&${selection}`);
    expect(JSON.parse((await response.text()).trimEnd().split('\n').at(-1)!)).toEqual({
      end: { count, completeUntil: null },
    });
    const csv = (await (await get(`/readings?format=csv&${selection}`)).text()).trimEnd().split('\r\n');
    expect(csv).toHaveLength(count + 1);
    const rows = await parquetRows(await (await get(`/readings?format=parquet&${selection}`)).arrayBuffer());
    expect(rows).toHaveLength(count);
  });

  it.each([
    [400, '/readings?format=csv&pattern=*&by=receivedAt', /query.by.*leave it out/],
    [400, '/readings?format=csv', /query.devices/],
    [400, '/readings?format=xml&pattern=*', /one of csv/],
    [400, `${pump}?format=csv&limit=10`, /query.limit.*leave it out/],
    [400, `${pump}?format=csv&cursor=abc`, /cursor/],
    [400, `${pump}?format=csv&from=now&to=now-1h`, /must be before/],
    [404, '/devices/unknown/readings?format=parquet', /unknown is unknown/],
    [404, '/devices/unknown/series?metrics=a&format=csv', /unknown is unknown/],
  ])('refuses with %i what cannot be answered: %s', async (status, path, reason) => {
    const response = await get(path);
    expect([response.status, response.headers.get('content-type')]).toEqual([status, 'application/problem+json']);
    expect(await response.text()).toMatch(reason);
  });

  it('has nothing in the cells of a metric with a name that every object has, where a reading lacks it', async () => {
    const names = '/devices/names-1/readings';
    const lines = (await (await get(`${names}?format=csv`)).text()).split('\r\n');
    expect(lines.map((line) => line.split(',').slice(5).join())).toEqual(['other,toString,valueOf', ',1,a', '2,,', '']);
    const rows = await parquetRows(await (await get(`${names}?format=parquet`)).arrayBuffer());
    expect(rows.map((row) => [row['toString'] ?? null, row['valueOf'] ?? null])).toEqual([
      [1, 'a'],
      [null, null],
    ]);
    const arrow = await (await get(`${names}?format=arrow`)).arrayBuffer();
    expect(tableFromIPC(arrow).getChild('toString').toArray()).toEqual([1, null]);
  });

  it('has metrics that are called as its columns are under names that are those of no other metric', async () => {
    const csv = await (await get('/devices/columns-1/readings?format=csv')).text();
    const names = 'metrics.metrics.metrics.ts,metrics.other,metrics.metrics.ts,metrics.ts';
    expect(csv.split('\r\n')[0]).toBe(`deviceId,ts,epoch,seq,receivedAt,${names}`);
    const rows = await parquetRows(await (await get('/devices/columns-1/readings?format=parquet')).arrayBuffer());
    expect(rows[0]).toMatchObject({ 'metrics.ts': 1, 'metrics.metrics.ts': 2, 'metrics.metrics.metrics.ts': 3 });
  });

  it('is refused as Parquet where its groups of rows would have too many columns together', async () => {
    const response = await get('/devices/wide-1/readings?format=parquet');
    expect([response.status, await response.text()]).toEqual([422, expect.stringMatching(/50000.*layout=long/)]);
    expect((await get('/devices/wide-1/history?format=parquet')).status).toBe(422);
    const narrow = await get('/devices/wide-1/readings?format=parquet&metrics=m0.1');
    expect(await parquetRows(await narrow.arrayBuffer())).toHaveLength(2_601);
  });

  it('is compressed as the client asks', async () => {
    for (const encoding of ['gzip', 'zstd']) {
      const response = await raw(`${pump}?format=csv`, { 'accept-encoding': encoding });
      expect(response.headers['content-encoding']).toBe(encoding);
      response.destroy();
    }
    const plain = await raw(`${pump}?format=csv`);
    expect(plain.headers['content-encoding']).toBeUndefined();
    await buffer(plain);
    expect(plain.trailers).toEqual({ 'x-fleetwire-count': '4' });
  });
});

describe('an answer about series', () => {
  it('is given as rows in each format', async () => {
    const question = `/devices/pump-1/series?metrics=temperature&agg=max,count&from=${start}&to=${start + 4_000}&interval=2s`;
    expect(await (await get(`${question}&format=csv`)).text()).toBe(
      `t,deviceId,metric,max,count\r\n${at(0)},pump-1,temperature,-5e-324,1\r\n${at(2_000)},pump-1,temperature,0.30000000000000004,1\r\n`,
    );
    const lines = (await (await get(question, { accept: 'application/x-ndjson' })).text()).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { t: at(0), deviceId: 'pump-1', metric: 'temperature', max: -5e-324, count: 1 },
      { t: at(2_000), deviceId: 'pump-1', metric: 'temperature', max: 0.1 + 0.2, count: 1 },
      { end: { count: 2, completeUntil: null } },
    ]);
    const rows = await parquetRows(await (await get(`${question}&format=parquet`)).arrayBuffer());
    expect(rows.map(({ t, max }) => [t, max])).toEqual([
      [new Date(start), -5e-324],
      [new Date(start + 2_000), 0.1 + 0.2],
    ]);
  });
});

describe('the page about exports', async () => {
  const page = await readFile(new URL('../../../docs/exports.md', import.meta.url), 'utf8');
  const examples = [...page.matchAll(/```sh\n(curl [^]*?)```/g)].map(([, text]) => text!);
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-exports-'));
  cleanUp(() => rmSync(folder, { recursive: true }));
  const hour = 3_600_000;
  await store.write(
    [1, 2, 3].map((n) =>
      reading({
        deviceId: 'press-7',
        seq: n,
        ts: Date.now() - n * hour,
        receivedAt: Date.now(),
        metrics: { temperature: n },
      }),
    ),
  );

  it('has examples', () => expect(examples).toHaveLength(3));

  it.each(examples)('has an example that writes what is stored: %s', async (example) => {
    await promisify(execFile)('bash', ['-c', example], {
      cwd: folder,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', FLEETWIRE: api.url, TOKEN: analyst },
    });
    const file = readFileSync(join(folder, /-o (\S+)/.exec(example)![1]!));
    if (example.includes('format=csv')) expect(file.toString()).toMatch('press-7');
    else expect(await parquetRows(new Uint8Array(file).buffer)).toHaveLength(3);
  });
});

describe('an export that is cut', () => {
  it.each(['ndjson', 'json', 'parquet', 'arrow'])('does not look complete at any byte: %s', async (format) => {
    const whole = new Uint8Array(await (await get(`${pump}?format=${format}`)).arrayBuffer());
    expect(await isComplete(format, whole)).toBe(true);
    // After the last brace of a line its end may be missing.
    const last = format === 'ndjson' ? whole.length - 1 : whole.length;
    for (let length = 0; length < last; length += 1)
      if (await isComplete(format, whole.slice(0, length)))
        expect.fail(`complete at ${length} of ${whole.length} bytes`);
  });

  it('is an error of the HTTP answer at every byte, in a format without an end of its own', async () => {
    const whole = await bytesOf(`${pump}?format=csv`);
    let length = 0;
    const cutting = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(whole.subarray(0, length)));
    });
    cutting.listen(0, '127.0.0.1');
    await once(cutting, 'listening');
    cleanUp(() => cutting.close());
    const url = `http://127.0.0.1:${(cutting.address() as AddressInfo).port}/`;
    const text = async () => (await fetch(url)).text();
    for (; length < whole.length; length += 1) await expect(text()).rejects.toThrow();
    expect(await text()).toMatch('pump-1');
  });

  it('has no end when Postgres fails in the middle, and says so in a line with the tag that was announced', async () => {
    const response = await raw('/devices/large-1/readings?format=ndjson');
    const tag = response.headers['x-fleetwire-error-tag'] as string;
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.pause();
    await eventually(async () => expect(await exportsIn('active')).toBe(1));
    await store.database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'query-api exports' and state = 'active'`,
    );
    response.resume();
    await expect(once(response, 'end')).rejects.toThrow('aborted');
    const last = Buffer.concat(chunks).toString().trimEnd().split('\n').at(-1)!;
    expect(JSON.parse(last)).toEqual({ [tag]: expect.objectContaining({ status: 503 }) });

    const csv = await raw('/devices/large-1/readings?format=csv');
    await eventually(async () => expect(await exportsIn('active')).toBe(1));
    await store.database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'query-api exports' and state = 'active'`,
    );
    await expect(buffer(csv)).rejects.toThrow('aborted');
  });
});

describe('a client of an export', () => {
  it.each(['csv', 'ndjson', 'json', 'parquet', 'arrow'] as const)(
    'that takes nothing has the service hold a few batches, not the export: %s',
    async (name) => {
      const format = formatOf(name, undefined)!;
      const leaving = new AbortController();
      const selection = { devices: ['large-1'] };
      const range = { from: start, to: start + 10 ** 9 };
      const table = await openReadingsTable(store.database, {
        selection,
        ...range,
        order: 'asc',
        layout: 'wide',
        format,
        signal: leaving.signal,
      });
      let take: (() => void) | undefined;
      let isTaking = false;
      const out = new Writable({
        write: (_chunk, _encoding, done) => {
          take = done;
          if (isTaking) done();
        },
      });
      const written = writeExport(out, format, table, { signal: leaving.signal });
      await eventually(async () => expect(await statementsWaitingForClient()).toBe(1));
      // 200,000 rows are 8 to 25 MB.
      expect(out.writableLength).toBeLessThan(2_000_000);
      isTaking = true;
      take?.();
      expect((await written).rows).toBe(manyRows + 1);
    },
  );

  it('that is slow at the end leaves the connection to Postgres as it was for the next one', async () => {
    const { url } = await startApi({
      DATABASE_URL: store.databaseUrl,
      EXPORT_STREAMS_MAX: '1',
      EXPORT_MS_MAX: '20000',
    });
    for (const format of ['parquet', 'arrow', 'csv']) {
      // The last batch is written after the last row was read.
      const response = await get(`/devices/large-1/readings?format=${format}&to=${start + 18_000_000}`, {}, url);
      expect([response.status, (await response.arrayBuffer()).byteLength > 20_000]).toEqual([200, true]);
    }
  });

  it('that is slow stops the reading from Postgres, and one that leaves ends it', async () => {
    const response = await raw('/devices/large-1/readings?format=ndjson');
    await eventually(async () => expect(await exportsIn('active', 'ClientWrite')).toBe(1));
    response.destroy();
    await eventually(async () => expect(await exportsIn('active')).toBe(0));
    const next = await get('/devices/large-1/readings?format=ndjson');
    expect((await next.text()).trimEnd()).toMatch(/"count":200001,/);
  });

  it.each([
    ['EXPORT_STALLED_MS_MAX', '300', 'left'],
    ['EXPORT_MS_MAX', '1500', 'failed'],
  ])('is cut where it takes nothing for long, or takes long altogether: %s', async (name, limit, outcome) => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, [name]: limit });
    const response = await raw('/devices/large-1/readings?format=csv', {}, url);
    const metric = new RegExp(`^fleetwire_export_bytes_total{format="csv",outcome="${outcome}"} [1-9]`, 'm');
    await eventually(async () => expect(await (await fetch(`${url}/metrics`)).text()).toMatch(metric));
    await eventually(async () => expect(await exportsIn('active')).toBe(0));
    await expect(buffer(response)).rejects.toThrow('aborted');
  });

  it('is cut where it takes nothing of what is left when all was read', async () => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_STALLED_MS_MAX: '300' });
    const response = await raw(oneLong, {}, url);
    // It keeps its place until then.
    const next = await eventually(async () => {
      const answer = await get(`${pump}?format=csv`, {}, url);
      expect(answer.status).toBe(200);
      return answer;
    });
    await next.text();
    await expect(buffer(response)).rejects.toThrow('aborted');
  });

  it('that takes little at a time gets all of it, also where one part of it takes longer than it may take nothing', async () => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_STALLED_MS_MAX: '500' });
    const response = await raw('/devices/long-1/readings?format=ndjson', {}, url);
    const [begin, parts] = [performance.now(), [] as Buffer[]];
    for await (const part of response) {
      parts.push(part as Buffer);
      await sleep(10);
    }
    expect(performance.now() - begin).toBeGreaterThan(1_000);
    expect(Buffer.concat(parts).toString().trimEnd()).toMatch(/"end":\{"count":2,/);
  });

  it('is refused over HTTP/1.0, which cannot tell a complete answer from one that was cut', async () => {
    const answer = (await bytesOf(`${pump}?format=csv`, '1.0')).toString();
    expect(answer).toMatch(/^HTTP\/1.1 400 [^]*application\/problem\+json[^]*HTTP\/1.1/);
    expect((await get(`${pump}?format=csv`)).status).toBe(200);
  });

  it('is cut where the time is over before the first compressed byte', async () => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_MS_MAX: '1000' });
    const client = await store.database.pool.connect();
    await client.query('begin; lock table shapes in access exclusive mode');
    try {
      const response = await get(`${pump}?format=arrow&layout=long`, { 'accept-encoding': 'zstd' }, url);
      expect(response.status).toBe(200);
      await expect(response.arrayBuffer()).rejects.toThrow();
    } finally {
      await client.query('rollback');
      client.release();
    }
    expect((await get(`${pump}?format=csv`, {}, url)).status).toBe(200);
  });

  it('gets 504 where the time is over before anything was sent', async () => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_MS_MAX: '1000' });
    const client = await store.database.pool.connect();
    await client.query('begin; lock table shapes in access exclusive mode');
    try {
      const response = await get(`${pump}?format=csv`, {}, url);
      expect([response.status, await response.text()]).toEqual([504, expect.stringContaining('EXPORT_MS_MAX')]);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });

  it('may have so many exports at the same time, and all clients together', async () => {
    const { url } = await startApi({ DATABASE_URL: store.databaseUrl, EXPORT_STREAMS_MAX: '2' });
    const large = '/devices/large-1/readings?format=csv';
    const first = await raw(large, {}, url);
    const own = await get(large, {}, url);
    expect([own.status, await own.text()]).toEqual([429, expect.stringContaining('EXPORT_STREAMS_PER_CALLER_MAX')]);
    const second = await raw(large, { authorization: `Bearer ${await tokenFor('admin')}` }, url);
    const other = await get(large, { authorization: `Bearer ${await tokenFor('operator')}` }, url);
    expect([other.status, await other.text()]).toEqual([503, expect.stringContaining('EXPORT_STREAMS_MAX')]);
    expect(Number(other.headers.get('retry-after'))).toBeGreaterThan(0);
    first.destroy();
    second.destroy();
    await eventually(async () => expect((await get(`${pump}?format=csv`, {}, url)).status).toBe(200));
  });

  it('of the role device has its own readings only', async () => {
    const device = { authorization: `Bearer ${await tokenFor('device', 'pump-2')}` };
    expect((await get('/devices/pump-2/readings?format=csv', device)).status).toBe(200);
    expect((await get(`${pump}?format=csv`, device)).status).toBe(403);
    expect((await get('/readings?format=csv&pattern=*', device)).status).toBe(403);
  });
});

async function isComplete(format: string, bytes: Uint8Array): Promise<boolean> {
  try {
    if (format === 'parquet') return (await parquetRows(bytes.buffer as ArrayBuffer)).length === 4;
    if (format === 'arrow') {
      const isEnded = Buffer.from(bytes).subarray(-8).equals(Buffer.from('ffffffff00000000', 'hex'));
      return isEnded && tableFromIPC(bytes).numRows === 4;
    }
    const text = new TextDecoder().decode(bytes);
    const last = format === 'json' ? text : text.trimEnd().split('\n').at(-1)!;
    return (JSON.parse(last) as { end?: unknown }).end !== undefined;
  } catch {
    return false;
  }
}

/** Without reading the answer. */
async function raw(path: string, headers: Record<string, string> = {}, url = api.url): Promise<IncomingMessage> {
  const sent = request(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${analyst}`, ...headers } });
  sent.on('error', () => {});
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  return response;
}

/** The whole answer as it is on the wire. */
async function bytesOf(path: string, version = '1.1'): Promise<Buffer> {
  const { hostname, port } = new URL(api.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `GET /api/v1${path} HTTP/${version}\r\nHost: ${hostname}\r\nAuthorization: Bearer ${analyst}\r\nConnection: close\r\n\r\n`,
  );
  return buffer(socket);
}

async function exportsIn(state: string, waitEvent?: string): Promise<number> {
  const { rows } = await store.database.pool.query<{ count: number }>(
    `select count(*) from pg_stat_activity
     where application_name = 'query-api exports' and state = $1 and ($2::text is null or wait_event = $2)`,
    [state, waitEvent ?? null],
  );
  return rows[0]!.count;
}

/** Postgres has rows to send, and this process does not take them. */
async function statementsWaitingForClient(): Promise<number> {
  const { rows } = await store.database.pool.query<{ count: number }>(
    `select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'ClientWrite' and query like 'copy%'`,
  );
  return rows[0]!.count;
}
