import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { restartWithBackoff } from '@fleetwire/platform/processes/restart-policy';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { type DeviceClient, startDeviceClient } from '../fleet/device-client.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { openTestDatabase } from './database.ts';
import { openNginx, send } from './nginx-platform.ts';
import { createPlatform } from './platform.ts';

const quickBackoff = { baseMs: 50, capMs: 1_000 };

const databaseUrl = await freshDatabase();
const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl }, { TRUST_PROXY_HOPS: '1' });
await platform.startAll({ 'ingest-ws': 2, 'persistence-worker': 1, 'query-api': 1 });

async function connectDevice(url: string, deviceId: string): Promise<DeviceClient> {
  const client = startDeviceClient({
    url,
    deviceId,
    token: await platform.keys.token(deviceId, 'device'),
    backoff: quickBackoff,
    statistics: newLinkStatistics(),
  });
  cleanUp(() => client.stop({ settleTimeoutMs: 0 }));
  return client;
}

const reading = () => ({ ts: Date.now(), metrics: { temperature: Math.random() } });

describe('nginx', () => {
  it('leads the devices of a killed ingest-ws to the other one, and no acknowledged reading is lost', async () => {
    const nginx = await openNginx(platform, { queryApi: ['127.0.0.1:9'] });
    const ids = Array.from({ length: 20 }, (_, index) => `device-${index}`);
    const devices = await Promise.all(ids.map((id) => connectDevice(nginx.webSocketUrl, id)));
    const load = setInterval(() => devices.forEach((device) => device.send(reading())), 20);
    cleanUp(() => clearInterval(load));
    const ackedOf = (all: readonly DeviceClient[]) => all.map(({ journal }) => journal.acked.size);
    await eventually(() => expect(Math.min(...ackedOf(devices))).toBeGreaterThan(10));

    const [killed, other] = platform.services['ingest-ws'];
    const connections = () => Promise.all([killed!, other!].map((one) => one.metric('fleetwire_ingest_connections')));
    // Least connections: each has half of them.
    expect(await connections()).toEqual([10, 10]);
    await killed!.kill();
    const before = ackedOf(devices);
    await eventually(() =>
      ackedOf(devices).forEach((acked, index) => expect(acked).toBeGreaterThan(before[index]! + 10)),
    );
    await eventually(async () => expect(await other!.metric('fleetwire_ingest_connections')).toBe(20));
    killed!.start();

    clearInterval(load);
    await Promise.all(devices.map((device) => device.stop({ settleTimeoutMs: 30_000 })));
    const database = openTestDatabase(databaseUrl);
    await eventually(async () => {
      const { rows } = await database.pool.query<{ device_id: string; n: number }>(
        'select device_id, count(distinct (epoch, seq))::int4 as n from telemetry group by device_id',
      );
      const stored = Object.fromEntries(rows.map(({ device_id, n }) => [device_id, n]));
      for (const [index, id] of ids.entries())
        expect(stored[id]).toBeGreaterThanOrEqual(devices[index]!.journal.acked.size);
    });
    await killed!.untilReady();
  });

  it('asks query-api once for equal requests of one caller at the same moment', async () => {
    const nginx = await openNginx(platform);
    const headers = { authorization: `Bearer ${await platform.keys.token('root', 'admin')}` };
    await send(`${nginx.url}/api/v1/telemetry`, { method: 'POST', headers, body: '{"deviceId":"kiln","value":1}' });
    const [api] = platform.services['query-api'];
    const url = (path: string) => `${nginx.url}/api/v1/devices/kiln/readings?${path}`;
    await eventually(async () => expect((await send(url('from=now-1h'), { headers })).body).toContain('"value":1'));
    const counter = 'fleetwire_http_request_seconds_count{method="GET",route="/devices/:id/readings",status="200"}';
    const asked = await api!.metric(counter);
    api!.pause();
    const answers = Array.from({ length: 10 }, () => send(url('from=0&to=1700000000000'), { headers }));
    await eventually(() => expect(nginx.accessLog()).toBeDefined());
    api!.resume();
    for (const { status } of await Promise.all(answers)) expect(status).toBe(200);
    expect(await api!.metric(counter)).toBe(asked + 1);
  });

  it('keeps sockets open over a reload, until the shutdown timeout of the old worker', async () => {
    // In this time a busy machine has to connect another device, and to answer the old socket.
    const shutdownTimeoutSeconds = 8;
    const nginx = await openNginx(platform, { queryApi: ['127.0.0.1:9'], shutdownTimeoutSeconds });
    const token = await platform.keys.token('patient', 'device');
    const connect = () => new WebSocket(nginx.webSocketUrl, ['fleetwire.v1.json', `fleetwire.token.${token}`]);
    const socket = connect();
    const closed = Promise.withResolvers<number>();
    socket.addEventListener('close', () => closed.resolve(performance.now()));
    const received: string[] = [];
    socket.addEventListener('message', ({ data }) => received.push(data as string));
    await eventually(() => expect(received).toHaveLength(1));

    const reloadedAt = performance.now();
    process.kill(nginx.pid(), 'SIGHUP');
    const device = await connectDevice(nginx.webSocketUrl, 'new');
    device.send(reading());
    await eventually(() => expect(device.journal.acked.size).toBe(1));
    socket.send('{"type":"telemetry","seq":1,"value":1}');
    await eventually(() => expect(received.at(-1)).toContain('"ack"'));
    expect((await closed.promise) - reloadedAt).toBeGreaterThan(0.9 * shutdownTimeoutSeconds * 1_000);
  });

  it('is started again after its master process was killed, on the same port', async () => {
    const said: string[] = [];
    const nginx = await openNginx(platform, {
      queryApi: ['127.0.0.1:9'],
      supervision: { restart: restartWithBackoff, report: (line) => said.push(line) },
    });
    const device = await connectDevice(nginx.webSocketUrl, 'steady');
    device.send(reading());
    await eventually(() => expect(device.journal.acked.size).toBe(1));
    process.kill(nginx.pid(), 'SIGKILL');
    await eventually(() => expect(said.at(-1)).toContain('nginx is ready again'));
    device.send(reading());
    await eventually(() => expect(device.journal.acked.size).toBe(2));
  });

  it('serves HTTPS with a certificate, and tells clients that speak HTTP', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fleetwire-tls-'));
    cleanUp(() => rmSync(folder, { recursive: true }));
    const tls = { certificateFile: join(folder, 'certificate.pem'), keyFile: join(folder, 'key.pem') };
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj'].concat([
        '/CN=localhost',
        '-keyout',
        tls.keyFile,
        '-out',
        tls.certificateFile,
      ]),
      { stdio: 'ignore' },
    );
    const nginx = await openNginx(platform, { queryApi: ['127.0.0.1:9'], tls });
    expect(nginx.url).toMatch(/^https:/);
    const status = Promise.withResolvers<number | undefined>();
    get(`${nginx.url}/healthz`, { rejectUnauthorized: false }, (response) => {
      response.resume();
      status.resolve(response.statusCode);
    }).on('error', status.reject);
    expect(await status.promise).toBe(200);
    const plain = await send(nginx.url.replace('https', 'http'));
    expect(plain.status).toBe(400);
    expect(JSON.parse(plain.body)).toMatchObject({ detail: expect.stringContaining('https://') });
  });

  it('gives the last answer about an ended range while query-api is unavailable, marked stale, and only with the same token', async () => {
    const nginx = await openNginx(platform);
    const token = async (subject: string, role: 'device' | 'analyst') => ({
      authorization: `Bearer ${await platform.keys.token(subject, role)}`,
    });
    const [owner, stranger, ada, bob] = [
      await token('kiln', 'device'),
      await token('other', 'device'),
      await token('ada', 'analyst'),
      await token('bob', 'analyst'),
    ];
    const ts = Date.now() - 60_000;
    await send(`${nginx.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: owner,
      body: JSON.stringify({ ts, metrics: { celsius: 812 } }),
    });
    const ended = `${nginx.url}/api/v1/devices/kiln/readings?from=${ts - 1_000}&to=${ts + 1_000}`;
    const moving = `${nginx.url}/api/v1/devices/kiln/readings?from=now-1h`;
    await eventually(async () => expect((await send(ended, { headers: ada })).body).toContain('812'));
    expect((await send(moving, { headers: ada })).status).toBe(200);
    expect((await send(ended, { headers: owner })).body).toContain('812');

    // While the answers of the others are kept, each caller is still checked.
    expect((await send(ended, { headers: stranger })).status).toBe(403);
    expect((await send(ended)).status).toBe(401);
    const bobs = await send(ended, { headers: bob });
    expect(bobs).toMatchObject({ status: 200 });
    expect(bobs.headers['x-fleetwire-stale']).toBeUndefined();
    const { body: last } = await send(ended, { headers: ada });

    await platform.services['query-api'][0]!.kill();
    const stale = await eventually(async () => {
      const answer = await send(ended, { headers: ada });
      expect(answer.headers['x-fleetwire-stale']).toBeDefined();
      return answer;
    });
    expect(stale).toMatchObject({ status: 200, body: last });
    expect(Date.now() - Date.parse(stale.headers['x-fleetwire-stale'] as string)).toBeLessThan(60_000);
    for (const [url, headers] of [
      [ended, stranger],
      [ended, {}],
      [ended, await token('eve', 'analyst')],
      [ended, { ...ada, host: 'rebound.example' }],
      [moving, ada],
    ] as const) {
      const refused = await send(url, { headers });
      expect(refused).toMatchObject({ status: 502, headers: { 'content-type': 'application/problem+json' } });
      expect(JSON.parse(refused.body)).toMatchObject({ status: 502, title: 'Bad gateway' });
      expect(refused.body).not.toContain('812');
    }
  });
});
