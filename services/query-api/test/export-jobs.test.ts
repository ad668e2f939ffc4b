import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { migrateJobQueue } from '@fleetwire/store/job-queue';
import { parquetReadObjects } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { startProcess } from './query-api-process.ts';
import { keys, type RunningApi, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const start = Date.UTC(2026, 10, 16);
const store = await freshStore();
await migrateJobQueue(store.databaseUrl);
const query = (text: string, values?: unknown[]) => store.database.pool.query(text, values);

/** Enough that a job can be stopped in the middle. */
const manyRows = 200_000;
await store.write([reading({ deviceId: 'large-1', epoch: 'e', ts: start })]);
await query(
  `insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
   select r.ts + n * interval '1 s', r.received_at, n, r.device_key, r.stream_key, r.shape_key, array[n / 7.0]
   from readings r join devices d on d.device_key = r.device_key, generate_series(1, $1::int) as n
   where d.device_id = 'large-1'`,
  [manyRows],
);
await store.write(
  [1, 2, 3].map((seq) => reading({ seq, ts: start + seq, metrics: { temperature: seq / 3, state: `on, "${seq}"` } })),
);

const compressors = { ZSTD: (input: Uint8Array) => new Uint8Array(zstdDecompressSync(input)) };

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'fleetwire-exports-'));
  cleanUp(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
const shared = folder();
/** As deploy/roles.sql makes it: it changes rows, but no tables. */
const role = `fleetwire_operator_${randomUUID().replaceAll('-', '')}`;
cleanUp(() => query(`drop role ${role}`));
await query(`create role ${role} login password 'secret' in role pg_read_all_data, pg_write_all_data`);
const writeUrl = Object.assign(new URL(store.databaseUrl), { username: role, password: 'secret' });

const environment = (more: Record<string, string> = {}) => ({
  DATABASE_URL: store.databaseUrl,
  DATABASE_WRITE_URL: String(writeUrl),
  EXPORTS_DIR: shared,
  EXPORT_JOBS_PER_CALLER_MAX: '100',
  RATE_LIMIT_PER_MINUTE: '100000',
  ...more,
});
const api = await startApi(environment());

interface Job {
  id: string;
  state: string;
  attempt: number;
  rows: number;
  bytes: number;
  percent: number | null;
  [name: string]: unknown;
}

const post = (body: object, token?: string, on: RunningApi = api) =>
  on.get('/api/v1/exports', { method: 'POST', body, token });
const jobOf = async (id: string, on: Pick<RunningApi, 'get'> = api): Promise<Job> =>
  (await on.get(`/api/v1/exports/${id}`)).body;
const made = async (body: object, on: RunningApi = api): Promise<string> => {
  const { status, body: job } = await eventually(async () => {
    const reply = await post(body, undefined, on);
    expect(reply.status, JSON.stringify(reply.body)).not.toBe(503);
    return reply;
  });
  expect(status, JSON.stringify(job)).toBe(202);
  return job.id;
};
const ended = (id: string, state = 'succeeded', on: Pick<RunningApi, 'get'> = api) =>
  eventually(async () => {
    const job = await jobOf(id, on);
    expect(job).toMatchObject({ state });
    return job;
  });

async function fetchFile(id: string, headers: Record<string, string> = {}, url = api.url): Promise<Response> {
  return fetch(`${url}/api/v1/exports/${id}/file`, {
    headers: { authorization: `Bearer ${await tokenFor('analyst')}`, ...headers },
  });
}

/** Jobs that begin now wait until the lock is released: they are neither queued nor done. */
async function hold(): Promise<{ release(): Promise<void> }> {
  const client = await store.database.pool.connect();
  await client.query('begin; lock table shapes in access exclusive mode');
  let isHeld = true;
  const release = async () => {
    if (!isHeld) return;
    isHeld = false;
    await client.query('rollback');
    client.release();
  };
  cleanUp(release);
  return { release };
}

describe('an export job', () => {
  it.each(['csv', 'ndjson', 'json', 'parquet', 'arrow'])('writes the same file as the stream: %s', async (format) => {
    const streamed = await fetch(`${api.url}/api/v1/devices/pump-1/readings?format=${format}`, {
      headers: { authorization: `Bearer ${await tokenFor('analyst')}` },
    });
    const expected = Buffer.from(await streamed.arrayBuffer());
    const job = await ended(await made({ devices: ['pump-1'], format }));
    expect(job).toMatchObject({ percent: 100, rows: 3, bytes: expected.length, attempt: 1, problem: null });
    const file = await fetchFile(job.id);
    expect([file.status, file.headers.get('content-type')]).toEqual([200, streamed.headers.get('content-type')]);
    expect(file.headers.get('content-disposition')).toBe(streamed.headers.get('content-disposition'));
    expect(Buffer.from(await file.arrayBuffer())).toEqual(expected);
  });

  it('is continued where a download was cut, and only of the same file', async () => {
    const { id, digest } = await ended(await made({ devices: ['pump-1'], format: 'csv' }));
    const whole = Buffer.from(await (await fetchFile(id)).arrayBuffer());
    const first = await fetchFile(id, { range: 'bytes=0-9' });
    const tag = first.headers.get('etag')!;
    expect([first.status, tag, first.headers.get('content-range')]).toEqual([
      206,
      `"${digest}"`,
      `bytes 0-9/${whole.length}`,
    ]);
    const rest = await fetchFile(id, { range: 'bytes=10-', 'if-range': tag });
    expect(rest.status).toBe(206);
    expect(Buffer.concat([Buffer.from(await first.arrayBuffer()), Buffer.from(await rest.arrayBuffer())])).toEqual(
      whole,
    );
    expect((await fetchFile(id, { range: 'bytes=10-', 'if-range': '"another"' })).status).toBe(200);
    expect((await fetchFile(id, { 'if-none-match': tag, 'cache-control': 'max-age=0' })).status).toBe(304);
    const beyond = await fetchFile(id, { range: `bytes=${whole.length}-` });
    expect([beyond.status, beyond.headers.get('content-range'), beyond.headers.get('content-type')]).toEqual([
      416,
      `bytes */${whole.length}`,
      'application/problem+json',
    ]);
  });

  it('is listed for its caller and for operators, and is unknown to others', async () => {
    const id = await made({ devices: ['pump-1'], format: 'csv' });
    await ended(id);
    const operator = await tokenFor('operator');
    for (const token of [await tokenFor('analyst', 'another'), await tokenFor('device', 'the-analyst')]) {
      for (const [method, path] of [
        ['GET', `/api/v1/exports/${id}`],
        ['GET', `/api/v1/exports/${id}/file`],
        ['DELETE', `/api/v1/exports/${id}`],
      ] as const)
        expect((await api.get(path, { token, method })).status).toBe(404);
      expect((await api.get('/api/v1/exports', { token })).body.data).toEqual([]);
    }
    expect((await api.get(`/api/v1/exports/${id}`, { token: operator })).body.createdBy).toBe('the-analyst');
    const pages = await api.get('/api/v1/exports?limit=1', { token: operator });
    expect(pages.body.data).toMatchObject([{ id }]);
    expect(pages.body.page.next).toBeTypeOf('string');
  });

  it('of a device has its own readings only', async () => {
    const token = await tokenFor('device', 'pump-1');
    expect((await post({ devices: ['pump-1', 'large-1'], format: 'csv' }, token)).status).toBe(403);
    expect((await post({ pattern: '*', format: 'csv' }, token)).status).toBe(403);
    expect((await post({ devices: ['pump-1'], format: 'csv' }, token)).status).toBe(202);
  });

  it.each([
    [400, { format: 'csv' }, /body.devices/],
    [400, { pattern: '*' }, /lacks .*format/],
    [400, { pattern: '*', format: 'csv', from: 'now', to: 'now-1h' }, /must be before/],
  ])('is refused with %i where it cannot be made: %j', async (status, body, reason) => {
    const reply = await post(body);
    expect([reply.status, JSON.stringify(reply.body)]).toEqual([status, expect.stringMatching(reason)]);
  });

  it('fails with the reason that a stream is refused for', async () => {
    const { problem, finishedAt } = await ended(await made({ devices: ['unknown'], format: 'csv' }), 'failed');
    expect(problem).toMatchObject({ status: 404, detail: 'Device unknown is unknown' });
    expect(finishedAt).toBeTypeOf('string');
  });

  it('is cancelled while it is queued and while it runs, and leaves no file', async () => {
    const held = await hold();
    const running = await made({ devices: ['large-1'], format: 'csv' });
    await ended(running, 'running');
    const queued = await made({ devices: ['large-1'], format: 'csv' });
    const early = await fetchFile(running);
    expect([early.status, await early.json()]).toMatchObject([409, { state: 'running' }]);
    for (const id of [running, queued])
      expect((await api.get(`/api/v1/exports/${id}`, { method: 'DELETE' })).body.state).toBe('cancelled');
    // The one that runs makes its place free.
    await held.release();
    await ended(await made({ devices: ['pump-1'], format: 'csv' }));
    for (const id of [running, queued]) {
      expect(await jobOf(id)).toMatchObject({ state: 'cancelled' });
      await eventually(() => expect(readdirSync(shared).filter((name) => name.startsWith(id))).toEqual([]));
    }
    expect((await api.get(`/api/v1/exports/${queued}`, { method: 'DELETE' })).status).toBe(200);
    expect((await api.get(`/api/v1/exports/${queued}`)).status).toBe(404);
  });

  it('loses its file when its time is over, or when it is deleted', async () => {
    const [expired, deleted] = [
      await made({ devices: ['pump-1'], format: 'csv' }),
      await made({ devices: ['pump-1'], format: 'csv' }),
    ];
    await ended(expired);
    await ended(deleted);
    await query(`update export_jobs set expires_at = now() - interval '1 s' where id = $1`, [expired]);
    expect((await fetchFile(expired)).status).toBe(410);
    expect(await jobOf(expired)).toMatchObject({ state: 'expired' });
    // Files that are no longer wanted are removed when a job is deleted, too.
    expect((await api.get(`/api/v1/exports/${deleted}`, { method: 'DELETE' })).status).toBe(200);
    await eventually(() =>
      expect(readdirSync(shared).filter((name) => name.startsWith(expired) || name.startsWith(deleted))).toEqual([]),
    );
    expect(await jobOf(expired)).toMatchObject({ state: 'expired' });
    expect((await fetchFile(deleted)).status).toBe(404);
  });
});

describe('export jobs', () => {
  it('with long questions are listed in pages of bounded size, and the newest 100 that have ended of one caller are kept', async () => {
    const one = await startApi(environment({ EXPORTS_DIR: folder(), PAGE_BYTES_MAX: '1048576' }));
    const devices = JSON.stringify({
      selection: { devices: Array(2_000).fill('d'.repeat(100)) },
      layout: 'wide',
      from: 0,
      to: 1,
    });
    await query(
      `insert into export_jobs (id, state, role, created_by, question, format, finished_at)
       select gen_random_uuid(), 'cancelled', 'analyst', 'hoarder', $1::json, 'csv', now() from generate_series(1, 130)`,
      [devices],
    );
    const token = await tokenFor('analyst', 'hoarder');
    expect((await post({ devices: ['pump-1'], format: 'csv' }, token, one)).status).toBe(202);
    const pages: number[] = [];
    for (let path = '/api/v1/exports?limit=500'; ;) {
      const { body } = await one.get(path, { token });
      pages.push(body.data.length);
      expect(JSON.stringify(body).length).toBeLessThan(1.3 * 1024 * 1024);
      if (body.page.next === null) break;
      path = `/api/v1/exports?limit=500&cursor=${body.page.next}`;
    }
    expect(pages.reduce((sum, count) => sum + count, 0)).toBe(101);
    expect(pages.length).toBeGreaterThan(10);
  });

  it('are bounded: those that run, those of a caller, and all that are pending', async () => {
    const one = await startApi(
      environment({ EXPORTS_DIR: folder(), EXPORT_JOBS_PER_CALLER_MAX: '2', EXPORT_JOBS_PENDING_MAX: '3' }),
    );
    const held = await hold();
    const token = (n: number) => tokenFor('analyst', `caller-${n}`);
    const large = { devices: ['large-1'], format: 'csv' };
    const first = await eventually(async () => {
      const reply = await post(large, await token(1), one);
      expect(reply.status).toBe(202);
      return reply;
    });
    const second = await post(large, await token(1), one);
    const own = await post(large, await token(1), one);
    expect([second.status, own.status, own.body.limit, own.body.detail]).toEqual([
      202,
      429,
      'export-jobs',
      expect.stringContaining('EXPORT_JOBS_PER_CALLER_MAX'),
    ]);
    expect((await post(large, await token(2), one)).status).toBe(202);
    const all = await post(large, await token(2), one);
    expect([all.status, all.body.detail]).toEqual([503, expect.stringContaining('EXPORT_JOBS_PENDING_MAX')]);
    const states = async () => {
      const { rows } = await query(
        `select state, count(*) from export_jobs where created_by like 'caller-%' group by 1`,
      );
      return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
    };
    // One in each instance: this one, and that of the whole file.
    await eventually(async () => expect(await states()).toEqual({ queued: 1, running: 2 }));
    await held.release();
    await eventually(async () => expect(await states()).toEqual({ succeeded: 3 }));
    expect((await post(large, await token(1), one)).status).toBe(429);
    const { id } = first.body;
    expect((await one.get(`/api/v1/exports/${id}`, { method: 'DELETE', token: await token(1) })).status).toBe(200);
    expect((await post({ devices: ['pump-1'], format: 'csv' }, await token(1), one)).status).toBe(202);
    await eventually(async () => expect(await states()).toEqual({ succeeded: 3 }));
    await one.stop();
  });

  it('of an instance with another folder are told to be elsewhere', async () => {
    const { id } = await ended(await made({ devices: ['pump-1'], format: 'csv' }));
    const other = await startApi(environment({ EXPORTS_DIR: folder() }));
    const answer = await fetchFile(id, {}, other.url);
    expect([answer.status, await answer.json()]).toMatchObject([404, { type: 'urn:fleetwire:problem:file-elsewhere' }]);
    expect((await fetchFile(id)).status).toBe(200);
    await other.stop();
  });

  it('are made and fetched by the example of the page about exports', async () => {
    await store.write([reading({ deviceId: 'press-7', seq: 1, ts: Date.now() - 3_600_000, receivedAt: Date.now() })]);
    const page = await readFile(new URL('../../../docs/exports.md', import.meta.url), 'utf8');
    const [, example] = /```sh\n(JOB=[^]*?)```/.exec(page)!;
    const cwd = folder();
    const env = { PATH: '/usr/local/bin:/usr/bin:/bin', FLEETWIRE: api.url, TOKEN: await tokenFor('analyst') };
    await promisify(execFile)('bash', ['-c', example!], { cwd, env });
    expect(
      await parquetReadObjects({ file: new Uint8Array(readFileSync(join(cwd, 'press.parquet'))).buffer, compressors }),
    ).toMatchObject([{ deviceId: 'press-7', seq: 1n }]);
  });

  it('are refused without a folder', async () => {
    const without = await startApi({ DATABASE_URL: store.databaseUrl });
    const reply = await post({ devices: ['pump-1'], format: 'csv' }, undefined, without);
    expect([reply.status, reply.body.detail]).toEqual([501, expect.stringContaining('EXPORTS_DIR')]);
    await without.stop();
  });
});

describe('an export job whose instance ends', () => {
  const whole = async (url: string, format: string) => {
    const headers = { authorization: `Bearer ${await tokenFor('analyst')}` };
    return (await fetch(`${url}/api/v1/devices/large-1/readings?format=${format}`, { headers })).text();
  };
  const partial = () => readdirSync(shared).filter((name) => name.endsWith('.part'));

  it('in the middle of it, without notice, is run again from its beginning, and its file was never offered before', async () => {
    await api.stop();
    const killed = await startProcess({ ...environment(), AUTH_JWKS: JSON.stringify(keys.publicJwks) });
    const id = await eventually(async () => {
      const response = await fetch(`${killed.url}/api/v1/exports`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await tokenFor('analyst')}`, 'content-type': 'application/json' },
        body: JSON.stringify({ devices: ['large-1'], format: 'ndjson' }),
      });
      expect(response.status).toBe(202);
      return ((await response.json()) as Job).id;
    });
    await eventually(() => expect(partial().map((name) => statSync(join(shared, name)).size > 0)).toEqual([true]), {
      intervalMs: 5,
    });
    await killed.kill();
    const next = await startApi(environment());
    expect(await jobOf(id, next)).toMatchObject({ state: 'running', attempt: 1 });
    expect((await fetchFile(id, {}, next.url)).status).toBe(409);
    // The time after which the queue takes it for dead.
    await query(`update fleetwire_jobs.job set heartbeat_on = now() - interval '1 hour' where id = $1`, [id]);
    expect(await ended(id, 'succeeded', next)).toMatchObject({ attempt: 2, rows: manyRows + 1 });
    const file = await fetchFile(id, {}, next.url);
    expect((await file.text()) === (await whole(next.url, 'ndjson'))).toBe(true);
    await eventually(() => expect(partial()).toEqual([]));
    await next.stop();
  });

  it('in order is run by the next one', async () => {
    const first = await startApi(environment());
    const held = await hold();
    const id = await made({ devices: ['large-1'], format: 'csv' }, first);
    await ended(id, 'running', first);
    await first.stop();
    expect((await query('select state from export_jobs where id = $1', [id])).rows).toEqual([{ state: 'queued' }]);
    const next = await startApi(environment());
    await held.release();
    expect(await ended(id, 'succeeded', next)).toMatchObject({ attempt: 2, rows: manyRows + 1 });
    await next.stop();
  });

  it('again and again is given up', async () => {
    const id = randomUUID();
    await query(
      `insert into export_jobs (id, state, role, created_by, question, format, run, progress_at)
       values ($1, 'running', 'analyst', 'the-analyst', $2, 'csv', gen_random_uuid(), now() - interval '2 min')`,
      [id, JSON.stringify({ selection: { pattern: '*' }, from: 0, to: 1, layout: 'wide' })],
    );
    const next = await startApi(environment());
    await ended(await made({ devices: ['pump-1'], format: 'csv' }, next), 'succeeded', next);
    expect(await ended(id, 'failed', next)).toMatchObject({ problem: { status: 500 } });
    await next.stop();
  });
});

describe('the folder of export jobs', () => {
  it('has no room for what other instances are writing into it', async () => {
    const path = folder();
    const bytesMax = 2 ** 30;
    const one = await startApi(environment({ EXPORTS_DIR: path, EXPORT_BYTES_MAX: String(bytesMax) }));
    const other = randomUUID();
    await query(
      `insert into export_jobs (id, state, role, created_by, question, format, run, folder, bytes)
       values ($1, 'running', 'analyst', 'another', '{}', 'csv', gen_random_uuid(), $2, $3)`,
      [other, readFileSync(join(path, 'folder-id'), 'utf8'), bytesMax - 1],
    );
    const { problem } = await ended(await made({ devices: ['pump-1'], format: 'csv' }, one), 'failed', one);
    expect(problem).toMatchObject({ status: 507, detail: expect.stringContaining('EXPORT_BYTES_MAX') });
    await query('delete from export_jobs where id = $1', [other]);
    await ended(await made({ devices: ['pump-1'], format: 'csv' }, one), 'succeeded', one);
    await one.stop();
  });

  it('has a bound on its bytes: a job fails that would exceed it, and none is made while it is full', async () => {
    const path = folder();
    const small = await startApi(environment({ EXPORTS_DIR: path, EXPORT_BYTES_MAX: String(2 ** 20) }));
    const id = await made({ devices: ['large-1'], format: 'csv' }, small);
    const { problem } = await ended(id, 'failed', small);
    expect(problem).toMatchObject({ status: 507, detail: expect.stringContaining('EXPORT_BYTES_MAX') });
    expect(readdirSync(path)).toEqual(['folder-id']);
    await ended(await made({ devices: ['pump-1'], format: 'csv' }, small), 'succeeded', small);
    await small.stop();

    writeFileSync(join(path, `${randomUUID()}.${randomUUID()}.csv`), Buffer.alloc(2 ** 20));
    // Files without a job are removed where the database says so: here it is away.
    const alone = await startApi(
      environment({
        EXPORTS_DIR: path,
        EXPORT_BYTES_MAX: String(2 ** 20),
        DATABASE_WRITE_URL: 'postgres://127.0.0.1:9/none',
      }),
    );
    const reply = await post({ devices: ['pump-1'], format: 'csv' }, undefined, alone);
    expect([reply.status, reply.body.detail]).toEqual([507, expect.stringContaining('EXPORT_BYTES_MAX')]);
    await alone.stop();
  });
});
