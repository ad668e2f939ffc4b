import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { migrateJobQueue } from '@fleetwire/store/job-queue';
import { describe, expect, it } from 'vitest';
import { openTestDatabase } from './database.ts';
import { createPlatform } from './platform.ts';

const main = new URL('../../cli/src/main.ts', import.meta.url).pathname;
const databaseUrl = await freshDatabase();
const folder = mkdtempSync(join(tmpdir(), 'fleetwire-import-'));
cleanUp(() => rmSync(folder, { recursive: true }));
const file = (name: string) => join(folder, name);
const platform = await createPlatform(
  { amqpUrl: await freshVhost(), databaseUrl },
  { DRAIN_GRACE_MS: '0', EXPORTS_DIR: file('exports') },
);
await migrateJobQueue(databaseUrl);
await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1, 'query-api': 1 });
const [ingest, api] = [platform.services['ingest-ws'][0]!, platform.services['query-api'][0]!];
const database = openTestDatabase(databaseUrl, { poolMax: 2 });
const env = {
  FLEETWIRE_URL: api.url,
  FLEETWIRE_INGEST_URL: ingest.url,
  FLEETWIRE_TOKEN: await platform.keys.token('importer', 'admin'),
};

function start(...args: string[]) {
  return spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function fleetwire(...args: string[]) {
  const child = start(...args);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { stdout, stderr, code };
}

async function stored(pattern: string): Promise<{ count: number; streams: number }> {
  const { rows } = await database.pool.query(
    'select count(*) as count, count(distinct epoch) as streams from telemetry where device_id like $1',
    [pattern],
  );
  return rows[0];
}

const noon = Date.UTC(2026, 0, 5, 12);
const at = (index: number) => new Date(noon + index * 1_000).toISOString();

describe('a CSV file', () => {
  it('is imported once, however often, and what is exported of it is the same again', async () => {
    const lines = Array.from({ length: 1_200 }, (_, n) => `${at(n)},${n / 3},${n % 2 === 0},"on, ""hot"" ${n}"`);
    writeFileSync(file('press.csv'), ['time,temperature,running,state', ...lines, 'no time,1,,'].join('\n'));
    const first = await fleetwire('import', file('press.csv'), '--device', 'press-1', '--json');
    expect(JSON.parse(first.stdout)).toMatchObject({ accepted: 1_200, refused: 1, resumedAt: 0 });
    expect([first.stderr, first.code]).toEqual(['line 1202: "no time" is not a time\n', 1]);
    await fleetwire('import', file('press.csv'), '--device', 'press-1');
    await eventually(async () => expect(await stored('press-1')).toEqual({ count: 1_200, streams: 1 }));

    const exported = await fleetwire('export', '--device', 'press-1', '--out', file('out.csv'));
    expect(exported).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/out.csv: [\d,]+ bytes/) });
    const text = readFileSync(file('out.csv'), 'utf8').split('\r\n');
    expect(text).toHaveLength(1_202);
    expect(text[0]).toBe('deviceId,ts,epoch,seq,receivedAt,running,state,temperature');
    expect(text[8]).toMatch(new RegExp(`^press-1,${at(7)},csv-[0-9a-f]{16},7,.*,false,"on, ""hot"" 7",2.33333`));

    for (const layout of ['wide', 'long']) {
      await fleetwire('export', '--pattern', 'press-*', '--layout', layout, '--out', file('all.csv'));
      const again = await fleetwire('import', file('all.csv'), '--json');
      expect(JSON.parse(again.stdout)).toMatchObject({ accepted: 1_200, refused: 0 });
      expect(again.code).toBe(0);
    }
    // Stored after all of them, by the same worker in the order of the queue.
    await fleetwire('send', 'a=1', '--device', 'last');
    await eventually(async () => expect((await stored('last')).count).toBe(1));
    expect(await stored('press-%')).toEqual({ count: 1_200, streams: 1 });
  });

  it('has every metric under its own name again, also one that is called as a column of the file is', async () => {
    const names = ['ts', 'seq', 'metrics.ts', 'metrics.metrics.ts', 'metrics.other', 'a,b', ' c ', 'd "e"', 'time'];
    const metrics = Object.fromEntries(names.map((name, n) => [name, n]));
    const body = JSON.stringify({ deviceId: 'named-1', ts: noon, metrics });
    const headers = { authorization: `Bearer ${env.FLEETWIRE_TOKEN}`, 'content-type': 'application/json' };
    expect((await fetch(`${ingest.url}/api/v1/telemetry`, { method: 'POST', headers, body })).status).toBe(202);
    await eventually(async () => expect((await stored('named-1')).count).toBe(1));
    for (const layout of ['wide', 'long']) {
      await fleetwire('export', '--device', 'named-1', '--layout', layout, '--out', file('named.csv'));
      const text = readFileSync(file('named.csv'), 'utf8').replaceAll('named-1', `named-${layout}`);
      writeFileSync(file('named.csv'), text);
      expect((await fleetwire('import', file('named.csv'))).code).toBe(0);
      await eventually(async () => expect((await stored(`named-${layout}`)).count).toBe(1));
      const read = await fetch(`${api.url}/api/v1/devices/named-${layout}/readings`, { headers });
      expect(((await read.json()) as { data: object[] }).data).toMatchObject([{ metrics }]);
    }
  });

  it('of metrics that are called as the columns of the long layout is not taken for one', async () => {
    const metrics = { metric: 'flow', value: 2, text: 'on' };
    const body = JSON.stringify({ deviceId: 'mistakable', ts: noon, metrics });
    const headers = { authorization: `Bearer ${env.FLEETWIRE_TOKEN}`, 'content-type': 'application/json' };
    expect((await fetch(`${ingest.url}/api/v1/telemetry`, { method: 'POST', headers, body })).status).toBe(202);
    await eventually(async () => expect((await stored('mistakable')).count).toBe(1));
    await fleetwire('export', '--device', 'mistakable', '--metrics', 'metric,value,text', '--out', file('three.csv'));
    writeFileSync(file('three.csv'), readFileSync(file('three.csv'), 'utf8').replaceAll('mistakable', 'unmistakable'));
    expect((await fleetwire('import', file('three.csv'))).code).toBe(0);
    await eventually(async () => expect((await stored('unmistakable')).count).toBe(1));
    const read = await fetch(`${api.url}/api/v1/devices/unmistakable/readings`, { headers });
    expect(((await read.json()) as { data: object[] }).data).toMatchObject([{ metrics }]);
  });

  it('is continued after an interruption', async () => {
    const lines = Array.from({ length: 5_000 }, (_, n) => `oven-${n % 3},${at(n)},${n}`);
    writeFileSync(file('ovens.csv'), ['deviceId,ts,power', ...lines].join('\n'));
    const child = start('import', file('ovens.csv'), '--batch', '10');
    await eventually(() => expect(existsSync(file('ovens.csv.import'))).toBe(true));
    child.kill('SIGINT');
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/interrupted; [\d,]+ readings of the file are done/)]);
    const state = readFileSync(file('ovens.csv.import'));
    const other = JSON.parse((await fleetwire('import', file('ovens.csv'), '--epoch', 'other', '--json')).stdout);
    expect(other).toMatchObject({ accepted: 5_000, resumedAt: 0 });
    writeFileSync(file('ovens.csv.import'), state);
    const rest = JSON.parse((await fleetwire('import', file('ovens.csv'), '--json')).stdout);
    expect(rest.resumedAt).toBeGreaterThan(0);
    expect(rest.accepted).toBe(5_000 - rest.resumedAt);
    expect(existsSync(file('ovens.csv.import'))).toBe(false);
    await eventually(async () => expect(await stored('oven-%')).toEqual({ count: 10_000, streams: 2 }));
  });

  it('is refused with the reason where it is none, or where its readings may not be sent', async () => {
    writeFileSync(file('bad.csv'), 'ts,value\n2026-01-05,1\n');
    expect((await fleetwire('import', file('bad.csv'))).stderr).toMatch(/say with --device whose readings/);
    expect((await fleetwire('import', file('missing.csv'), '--device', 'a')).code).toBe(1);
    writeFileSync(file('name.csv'), `ts,value\n${at(0)},1\n${at(1)},2\n`);
    expect((await fleetwire('import', file('name.csv'), '--device', 'no spaces')).stderr).toMatch(/line 2: .*deviceId/);
  });
});

describe('an export', () => {
  it('that fails leaves no file', async () => {
    const failed = await fleetwire('export', '--device', 'unknown', '--out', file('unknown.csv'));
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining('unknown is unknown')]);
    expect(existsSync(file('unknown.csv'))).toBe(false);
  });

  it('by a job is the same file, also where the download is cut again and again', async () => {
    await fleetwire('export', '--device', 'press-1', '--out', file('stream.csv'));
    const whole = readFileSync(file('stream.csv'));
    const { url, cuts } = await cuttingProxy(Math.ceil(whole.length / 4));
    const made = await fleetwire('export', '--device', 'press-1', '--job', '--out', file('job.csv'), '--url', url);
    expect(made).toMatchObject({ code: 0, stderr: expect.stringMatching(/^export job [0-9a-f-]{36};/) });
    expect(cuts()).toBeGreaterThan(2);
    expect(readFileSync(file('job.csv')).equals(whole)).toBe(true);
    // The job is removed with its file.
    const id = /[0-9a-f-]{36}/.exec(made.stderr)![0];
    const again = await fleetwire('export', '--job', id, '--out', file('job.csv'));
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining(`no export job ${id}`)]);
    const failed = await fleetwire('export', '--device', 'unknown', '--job', '--out', file('unknown.csv'));
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringMatching(/is failed: Device unknown is unknown/)]);
    expect(existsSync(file('unknown.csv'))).toBe(false);
  });
});

/** Cuts each connection after so many bytes from query-api. */
async function cuttingProxy(bytesMax: number): Promise<{ url: string; cuts(): number }> {
  const { hostname, port } = new URL(api.url);
  let cuts = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    let bytes = 0;
    client.on('error', () => server.destroy()).on('close', () => server.destroy());
    server.on('error', () => client.destroy()).on('close', () => client.end());
    client.pipe(server);
    server.on('data', (chunk: Buffer) => {
      client.write(chunk.subarray(0, Math.max(0, bytesMax - bytes)));
      bytes += chunk.length;
      if (bytes <= bytesMax) return;
      cuts += 1;
      server.destroy();
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  cleanUp(() => proxy.close());
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, cuts: () => cuts };
}
