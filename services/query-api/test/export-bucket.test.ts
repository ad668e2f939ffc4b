import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { startObjectStorage, withoutObjectStorage } from '@fleetwire/platform/testing/object-storage';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { migrateJobQueue } from '@fleetwire/store/job-queue';
import { describe, expect, it } from 'vitest';
import { elementsIn, S3Client } from '../src/export-jobs/s3-client.ts';
import { startProcess } from './query-api-process.ts';
import { keys, type RunningApi, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const mebibyte = 1024 * 1024;
const storage = withoutObjectStorage
  ? { endpoint: 'http://127.0.0.1:1', accessKeyId: 'none', secretAccessKey: 'none' }
  : await startObjectStorage();
if (withoutObjectStorage) console.log('buckets: SKIPPED, as there is no apt-get to download Ceph');
const store = await freshStore();
await migrateJobQueue(store.databaseUrl);
const query = (text: string, values?: unknown[]) => store.database.pool.query(text, values);

/** As CSV and NDJSON several parts of an upload. */
const manyRows = 120_000;
const start = Date.UTC(2026, 10, 16);
await store.write([reading({ deviceId: 'large-1', epoch: 'e', ts: start })]);
await query(
  `insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
   select r.ts + n * interval '1 s', r.received_at, n, r.device_key, r.stream_key, r.shape_key, array[n / 7.0]
   from readings r join devices d on d.device_key = r.device_key, generate_series(1, $1::int) as n
   where d.device_id = 'large-1'`,
  [manyRows],
);
await store.write([1, 2, 3].map((seq) => reading({ seq, ts: start + seq, metrics: { temperature: seq / 3 } })));
const large = { devices: ['large-1'], format: 'ndjson' };
const small = { devices: ['pump-1'], format: 'csv' };

const bucket = `exports-${randomUUID()}`;
const prefix = 'fleet one/';
const inspect = new S3Client({
  ...storage,
  bucket,
  region: 'us-east-1',
  pathStyle: true,
  requestMsMax: 60_000,
  retryMsMax: 0,
});
const { signal } = new AbortController();
if (!withoutObjectStorage) await inspect.send({ method: 'PUT', signal });
/** Keys, of a job: of complete objects, and of uploads that are not finished. */
const objects = async (id: string) => keysOf(id, await inspect.send({ method: 'GET', query: { prefix }, signal }));
const uploads = async (id: string) => keysOf(id, await inspect.send({ method: 'GET', query: { uploads: '' }, signal }));
const keysOf = (id: string, { text }: { text: string }) =>
  elementsIn(text, 'Key').filter((key) => key.startsWith(prefix + id));

const environment = (more: Record<string, string> = {}) => ({
  DATABASE_URL: store.databaseUrl,
  EXPORT_S3_ENDPOINT: storage.endpoint,
  EXPORT_S3_BUCKET: bucket,
  EXPORT_S3_PREFIX: prefix,
  EXPORT_S3_ACCESS_KEY_ID: storage.accessKeyId,
  EXPORT_S3_SECRET_ACCESS_KEY: storage.secretAccessKey,
  EXPORT_S3_PUBLIC_ENDPOINT: storage.endpoint,
  EXPORT_S3_PART_BYTES: String(5 * mebibyte),
  EXPORT_JOBS_PER_CALLER_MAX: '100',
  RATE_LIMIT_PER_MINUTE: '100000',
  ...more,
});

interface Job {
  id: string;
  state: string;
  bytes: number;
  digest: string;
  _links: Record<string, string>;
  [name: string]: unknown;
}
type Api = Pick<RunningApi, 'get' | 'url'>;

const jobOf = async (id: string, on: Pick<RunningApi, 'get'>): Promise<Job> =>
  (await on.get(`/api/v1/exports/${id}`)).body;
const made = async (body: object, on: Api): Promise<string> => {
  const { status, body: job } = await eventually(async () => {
    const reply = await on.get('/api/v1/exports', { method: 'POST', body });
    expect(reply.status, JSON.stringify(reply.body)).not.toBe(503);
    return reply;
  });
  expect(status, JSON.stringify(job)).toBe(202);
  return job.id;
};
const ended = (id: string, on: Api, state = 'succeeded') =>
  eventually(async () => {
    const job = await jobOf(id, on);
    expect(job).toMatchObject({ state });
    return job;
  });
const fetchFile = async (id: string, on: Api, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${on.url}/api/v1/exports/${id}/file`, {
    method,
    headers: { authorization: `Bearer ${await tokenFor('analyst')}`, ...headers },
  });
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64url');

const folder = mkdtempSync(join(tmpdir(), 'fleetwire-exports-'));
cleanUp(() => rmSync(folder, { recursive: true, force: true }));

/** The service with a storage that is slow enough to be stopped in the middle of an upload. */
async function startBehindProxy(more: Record<string, string> = {}) {
  const { proxy, url } = await proxied(storage.endpoint);
  proxy.slow(4 * mebibyte);
  const api = await startApi(environment({ EXPORT_S3_ENDPOINT: url, ...more }));
  return { api, proxy };
}

/** Resolves in the middle of the upload of a job: parts are there, and no object. */
const inTheMiddle = (id: string, on: Pick<RunningApi, 'get'>) =>
  eventually(async () => {
    expect(await uploads(id)).toHaveLength(1);
    expect((await jobOf(id, on)).bytes).toBeGreaterThan(6 * mebibyte);
    expect(await objects(id)).toEqual([]);
  });
const nothingLeft = (id: string) =>
  eventually(async () => expect([await uploads(id), await objects(id)]).toEqual([[], []]));
const onlyItsFile = (id: string) =>
  eventually(async () => expect([await uploads(id), (await objects(id)).length]).toEqual([[], 1]));

/** What a client sees of a file, whole and in parts. */
async function answersOf({ id, bytes, digest }: Job, on: Api) {
  const shown = async (headers: Record<string, string>, method = 'GET') => {
    const answer = await fetchFile(id, on, headers, method);
    const names = [
      'content-type',
      'content-disposition',
      'content-length',
      'content-range',
      'accept-ranges',
      'vary',
      'etag',
    ];
    const isProblem = answer.status >= 400;
    const body = isProblem ? await answer.json() : digestOf(await bytesOf(answer));
    return [answer.status, body, ...(isProblem ? ['content-range'] : names).map((name) => answer.headers.get(name))];
  };
  const whole = await shown({});
  expect(whole[1]).toBe(digest);
  return [
    whole,
    await shown({}, 'HEAD'),
    await shown({ range: 'bytes=0-9' }),
    await shown({ range: `bytes=${bytes - 100}-`, 'if-range': `"${digest}"` }),
    await shown({ range: 'bytes=-5' }),
    await shown({ range: `bytes=${bytes}-` }),
    await shown({ 'if-none-match': `"${digest}"`, 'cache-control': 'max-age=0' }),
    ...(bytes > mebibyte
      ? []
      : [await shown({ range: 'bytes=10-', 'if-range': '"another"' }), await shown({ range: 'bytes=0-1,5-6' })]),
  ];
}

describe.skipIf(withoutObjectStorage)('an export job with a bucket', () => {
  const bodies = [small, { ...small, format: 'parquet' }, large];

  it('makes the same file as with a folder, of one part and of several, and each instance gives all ranges of it', async () => {
    const seenOf = async (api: RunningApi) => {
      const seen = [];
      for (const body of bodies) {
        const job = await ended(await made(body, api), api);
        seen.push({ job, answers: await answersOf(job, api) });
      }
      return seen;
    };
    const disk = await startApi({
      DATABASE_URL: store.databaseUrl,
      EXPORTS_DIR: folder,
      RATE_LIMIT_PER_MINUTE: '100000',
    });
    const expected = await seenOf(disk);
    await disk.stop();
    const api = await startApi(environment());
    const seen = await seenOf(api);
    expect(seen.map(({ answers }) => answers)).toEqual(expected.map(({ answers }) => answers));
    const [first, , last] = seen.map(({ job }) => job) as [Job, Job, Job];
    expect(last.bytes).toBeGreaterThan(3 * 5 * mebibyte);
    for (const { job } of seen) await onlyItsFile(job.id);

    const other = await startApi(environment());
    await api.stop();
    expect(await answersOf(first, other)).toEqual(seen[0]!.answers);
    const elsewhere = await fetchFile(expected[0]!.job.id, other);
    expect([elsewhere.status, await elsewhere.json()]).toMatchObject([
      404,
      { type: 'urn:fleetwire:problem:file-elsewhere' },
    ]);
    for (const { job } of seen) await other.get(`/api/v1/exports/${job.id}`, { method: 'DELETE' });
    for (const { job } of seen) await nothingLeft(job.id);
    await other.stop();
  });

  it('has an address of its file for clients without a token, until the file is gone', async () => {
    const api = await startApi(environment());
    const { id, digest, bytes, _links } = await ended(await made(small, api), api);
    const whole = await fetch(_links['address']!);
    expect([whole.status, whole.headers.get('content-disposition')]).toEqual([
      200,
      'attachment; filename="pump-1.csv"',
    ]);
    expect(digestOf(await bytesOf(whole))).toBe(digest);
    const part = await fetch(_links['address']!, { headers: { range: 'bytes=10-' } });
    expect([part.status, (await bytesOf(part)).length]).toEqual([206, bytes - 10]);
    expect(Number(new URL(_links['address']!).searchParams.get('X-Amz-Expires'))).toBeLessThanOrEqual(24 * 3_600);
    // Another key is not signed.
    expect((await fetch(_links['address']!.replace('.csv?', '.txt?'))).status).toBe(403);

    await query(`update export_jobs set expires_at = now() - interval '1 s' where id = $1`, [id]);
    expect((await fetchFile(id, api)).status).toBe(410);
    expect((await jobOf(id, api))._links).not.toHaveProperty('address');
    // Files that are no longer wanted are removed when a job has ended, too.
    const deleted = await made(small, api);
    await ended(deleted, api);
    await nothingLeft(id);
    expect((await fetch(_links['address']!)).status).toBe(404);
    await onlyItsFile(deleted);
    expect((await api.get(`/api/v1/exports/${deleted}`, { method: 'DELETE' })).status).toBe(200);
    await nothingLeft(deleted);
    await api.stop();
  });

  it('leaves nothing where it is cancelled in the middle of an upload', async () => {
    const { api } = await startBehindProxy();
    const id = await made(large, api);
    await inTheMiddle(id, api);
    expect((await api.get(`/api/v1/exports/${id}`, { method: 'DELETE' })).body.state).toBe('cancelled');
    await nothingLeft(id);
    expect((await fetchFile(id, api)).status).toBe(409);
    await api.stop();
  });

  it('leaves nothing where its file would exceed the bound on bytes', async () => {
    const api = await startApi(environment({ EXPORT_BYTES_MAX: String(6 * mebibyte) }));
    const id = await made(large, api);
    const { problem } = await ended(id, api, 'failed');
    expect(problem).toMatchObject({ status: 507, detail: expect.stringContaining('EXPORT_BYTES_MAX') });
    await nothingLeft(id);
    await ended(await made(small, api), api);
    await api.stop();
  });

  it('goes on where the storage is away for a moment', async () => {
    const { api, proxy } = await startBehindProxy({ EXPORT_S3_RETRY_MS_MAX: '3000' });
    const id = await made(large, api);
    await inTheMiddle(id, api);
    proxy.reset();
    expect(await ended(id, api)).toMatchObject({ attempt: 1, problem: null });
    await api.stop();
  });

  it('is run again where the storage is away for longer, and says why', async () => {
    const { api, proxy } = await startBehindProxy({ EXPORT_S3_RETRY_MS_MAX: '1000' });
    const id = await made(large, api);
    await inTheMiddle(id, api);
    proxy.refuse();
    expect(await ended(id, api, 'queued')).toMatchObject({
      problem: { status: 503, detail: expect.stringContaining('storage') },
    });
    proxy.resume();
    const job = await ended(id, api);
    expect(job).toMatchObject({ problem: null, rows: manyRows + 1 });
    expect(job['attempt']).toBeGreaterThan(1);
    expect(digestOf(await bytesOf(await fetchFile(id, api)))).toBe(job.digest);
    // Also the upload that could not be ended while the storage was away.
    await onlyItsFile(id);
    proxy.refuse();
    const away = await fetchFile(id, api);
    expect([away.status, away.headers.get('content-type')]).toEqual([503, 'application/problem+json']);
    proxy.resume();
    await api.stop();
  });

  it('is run again after a kill in the middle of an upload, which is removed', async () => {
    const { proxy, url } = await proxied(storage.endpoint);
    proxy.slow(4 * mebibyte);
    const killed = await startProcess({
      ...environment({ EXPORT_S3_ENDPOINT: url }),
      AUTH_JWKS: JSON.stringify(keys.publicJwks),
    });
    const reader: Pick<RunningApi, 'get'> = {
      get: async (path) => {
        const response = await fetch(killed.url + path, {
          headers: { authorization: `Bearer ${await tokenFor('analyst')}` },
        });
        return { status: response.status, headers: response.headers, body: await response.json() };
      },
    };
    const id = await eventually(async () => {
      const response = await fetch(`${killed.url}/api/v1/exports`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await tokenFor('analyst')}`, 'content-type': 'application/json' },
        body: JSON.stringify(large),
      });
      expect(response.status).toBe(202);
      return ((await response.json()) as Job).id;
    });
    await inTheMiddle(id, reader);
    await killed.kill();
    const [left] = await uploads(id);
    expect(left).toBeDefined();
    const api = await startApi(environment());
    // The time after which the queue takes it for dead.
    await query(`update fleetwire_jobs.job set heartbeat_on = now() - interval '1 hour' where id = $1`, [id]);
    const job = await ended(id, api);
    expect(job).toMatchObject({ attempt: 2, rows: manyRows + 1 });
    expect(digestOf(await bytesOf(await fetchFile(id, api)))).toBe(job.digest);
    await onlyItsFile(id);
    expect(await objects(id)).not.toContain(left);
    await api.stop();
  });

  it.each([
    ['a wrong secret', { EXPORT_S3_SECRET_ACCESS_KEY: 'wrong' }, /403 SignatureDoesNotMatch/],
    ['a wrong key', { EXPORT_S3_ACCESS_KEY_ID: 'wrong' }, /403 InvalidAccessKeyId/],
    ['a bucket that is missing', { EXPORT_S3_BUCKET: 'missing' }, /404 NoSuchBucket/],
  ])('fails at the first attempt with the reason: %s', async (_, wrong, reason) => {
    const api = await startApi(environment(wrong));
    const job = await ended(await made(small, api), api, 'failed');
    expect(job).toMatchObject({ attempt: 1, problem: { status: 502, detail: expect.stringMatching(reason) } });
    expect(JSON.stringify(job)).not.toContain(storage.secretAccessKey);
    await api.stop();
  });
});
