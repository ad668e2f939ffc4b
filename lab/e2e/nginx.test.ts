import { once } from 'node:events';
import { createServer } from 'node:http';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits } from '@fleetwire/contracts/limits';
import { nginxSettings } from '@fleetwire/platform/nginx/start';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { sendHeaders, upgradeHeaders } from '@fleetwire/platform/testing/send-headers';
import { describe, expect, inject, it } from 'vitest';
import { startDeviceClient } from '../fleet/device-client.ts';
import { openNginx, send } from './nginx-platform.ts';
import { createPlatform } from './platform.ts';

const origin = 'https://dashboard.example';
const refusedTokensMax = 3;

const behindNginx = { TRUST_PROXY_HOPS: '1' };

async function startAll(env: NodeJS.ProcessEnv = {}, instances: Record<string, number> = {}) {
  const platform = await createPlatform(
    { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() },
    { ...behindNginx, ...env },
  );
  await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1, 'query-api': 1, ...instances });
  return platform;
}

const dashboard = mkdtempSync(join(tmpdir(), 'fleetwire-dashboard-'));
cleanUp(() => rmSync(dashboard, { recursive: true }));
mkdirSync(join(dashboard, 'assets'));
writeFileSync(join(dashboard, 'index.html'), '<!doctype html><script src="/assets/app.js"></script>');
writeFileSync(join(dashboard, 'assets/app.js'), 'export {};');
const platform = await startAll({
  DASHBOARD_DIR: dashboard,
  ALLOWED_ORIGINS: origin,
  REFUSED_TOKENS_PER_MINUTE_MAX: String(refusedTokensMax),
});
const nginx = await openNginx(platform, nginxSettings({ ALLOWED_ORIGINS: origin }));
const bearer = async (subject: string, role: 'device' | 'analyst' | 'admin') => ({
  authorization: `Bearer ${await platform.keys.token(subject, role)}`,
});

function expectProblem({ status, headers, body }: Awaited<ReturnType<typeof send>>, expected: number) {
  expect({ status, type: headers['content-type'] }, body).toEqual({
    status: expected,
    type: 'application/problem+json',
  });
  expect(headers['x-request-id']).toMatch(/./);
  const document = JSON.parse(body) as { status: number; detail: string; type: string; title: string };
  expect(document).toMatchObject({ status: expected, type: expect.stringMatching(/^urn:fleetwire:problem:/) });
  return document;
}

describe('nginx', () => {
  it('serves pages, documents, the API and sockets at one address', async () => {
    for (const path of ['/', '/devices/pump-1', '/dead-letters/7', '/sign-in', '/docs', '/redoc'])
      expect(await send(`${nginx.url}${path}`)).toMatchObject({
        status: 200,
        headers: { 'content-type': expect.stringContaining('text/html') },
      });
    expect((await send(`${nginx.url}/assets/app.js`)).headers['cache-control']).toContain('immutable');
    // Once: the policy of the page is that of query-api alone.
    expect((await send(`${nginx.url}/`)).headers['content-security-policy']).toMatch(/^default-src 'none'; [^,]*$/);
    expect((await send(`${nginx.url}/`)).headers['content-security-policy']).toContain(
      `ws://${new URL(nginx.url).host}`,
    );
    expect((await send(`${nginx.url}/docs/swagger-ui.css`)).status).toBe(200);
    const device = startDeviceClient({
      url: nginx.webSocketUrl,
      deviceId: 'one-nginx',
      token: await platform.keys.token('one-nginx', 'device'),
    });
    cleanUp(() => device.stop({ settleTimeoutMs: 0 }));
    device.send({ ts: Date.now(), metrics: { temperature: 21 } });
    await eventually(() => expect(device.journal.acked.size).toBe(1));
    expectProblem(await send(`${nginx.url}/metrics`), 404);
    expectProblem(await send(`${nginx.url}/readyz`), 404);
  });

  it('leads every operation of the API document to the service that has it', async () => {
    const admin = await bearer('root', 'admin');
    const document = JSON.parse((await send(`${nginx.url}/openapi.json`)).body) as {
      servers: { url: string }[];
      paths: Record<string, Record<string, { operationId: string; servers?: { url: string }[] }>>;
    };
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );
    expect(operations.length).toBeGreaterThan(15);
    for (const { path, method, operation } of operations) {
      expect((operation.servers ?? document.servers)[0]!.url).toBe('/');
      const answer = await send(`${nginx.url}${path.replaceAll(/\{\w+\}/g, '1')}`, {
        method,
        headers: { ...admin, 'content-type': 'application/json' },
        ...(method !== 'GET' && { body: '{"confirm":"x"}' }),
      });
      expect([405, 502], `${method} ${path}`).not.toContain(answer.status);
      expect(answer.body).not.toContain('No route matches');
    }
    // Both are ingest-ws's; the second answers as the plain dialect does.
    for (const [path, status] of [
      ['/api/v1/data', 202],
      ['/api/data', 200],
    ] as const) {
      const sent = await send(`${nginx.url}${path}`, {
        method: 'POST',
        headers: admin,
        body: '{"deviceId":"d","value":1}',
      });
      expect(sent.status, sent.body).toBe(status);
      expect((await send(`${nginx.url}${path}`, { headers: admin })).status).toBe(200);
    }
  });

  it('passes versions of devices on, there and back: ETag, If-Match, PUT, PATCH and DELETE', async () => {
    const headers = { ...(await bearer('root', 'admin')), 'content-type': 'application/json' };
    const url = `${nginx.url}/api/v1/devices`;
    const made = await send(url, { method: 'POST', headers, body: '{"deviceId":"versioned"}' });
    expect([made.status, made.headers['etag']]).toEqual([201, '"1"']);
    expect((await send(`${url}/versioned`, { headers })).headers['etag']).toBe('"1"');
    for (const [version, method, body] of [
      [1, 'PATCH', '{"name":"n"}'],
      [2, 'PUT', '{}'],
      [3, 'DELETE', undefined],
    ] as const) {
      const target = `${url}/versioned`;
      const content = body === undefined ? {} : { body };
      expectProblem(await send(target, { method, headers, ...content }), 428);
      expectProblem(await send(target, { method, headers: { ...headers, 'if-match': '"9"' }, ...content }), 412);
      const changed = await send(target, { method, headers: { ...headers, 'if-match': `"${version}"` }, ...content });
      expect([changed.status, changed.headers['etag']], changed.body).toEqual([200, `"${version + 1}"`]);
    }
  });

  it('lets the ETag of an answer that nginx compressed be used for If-Match', async () => {
    const headers = { ...(await bearer('root', 'admin')), 'content-type': 'application/json' };
    const url = `${nginx.url}/api/v1/devices`;
    const body = JSON.stringify({ deviceId: 'compressed', metadata: { note: 'x'.repeat(1_500) } });
    expect((await send(url, { method: 'POST', headers, body })).status).toBe(201);
    const read = await send(`${url}/compressed`, { headers: { ...headers, 'accept-encoding': 'gzip' } });
    expect(read.headers).toMatchObject({ 'content-encoding': 'gzip', etag: 'W/"1"' });
    const ifMatch = { ...headers, 'if-match': read.headers.etag };
    const patch = { method: 'PATCH', headers: ifMatch, body: '{"name":"n"}' };
    expect(await send(`${url}/compressed`, patch)).toMatchObject({ status: 200, headers: { etag: '"2"' } });
    expectProblem(await send(`${url}/compressed`, patch), 412);
  });

  it('lets a client ask whether an answer that is not kept has changed', async () => {
    const root = await bearer('root', 'admin');
    const ts = Date.now() - 60_000;
    const body = JSON.stringify({ deviceId: 'series-1', ts, metrics: { celsius: 812 } });
    await send(`${nginx.url}/api/v1/telemetry`, { method: 'POST', headers: root, body });
    const url = `${nginx.url}/api/v1/devices/series-1/series?metrics=celsius&agg=max&from=${ts - 1_000}&to=${ts + 1_000}`;
    const first = await eventually(async () => {
      const answer = await send(url, { headers: root });
      expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('812') });
      return answer;
    });
    const again = await send(url, { headers: { ...root, 'if-none-match': first.headers.etag } });
    expect([again.status, again.body]).toEqual([304, '']);
  });

  it.each([
    ['the file of an export job', '/api/v1/exports/7c2a/file?to=1'],
    ['a file of the dashboard, in the middle of an upgrade,', '/assets/app-1a2b.js'],
  ])('asks the other instances for %s that one has not, for the part that the client wants', async (_, path) => {
    const asked: string[] = [];
    const instance = async (status: number) => {
      const server = createServer((request, response) => {
        asked.push(`${status} ${request.headers.range}`);
        response.writeHead(status).end(`from ${status}`);
      }).listen(0, '127.0.0.1');
      cleanUp(() => server.close());
      await once(server, 'listening');
      return `127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    const two = await openNginx(platform, { queryApi: [await instance(404), await instance(206)] });
    for (let count = 0; count < 4; count += 1)
      expect(await send(two.url + path, { headers: { range: 'bytes=10-' } })).toMatchObject({
        status: 206,
        body: 'from 206',
      });
    expect(asked).toContain('404 bytes=10-');
    expect(asked.filter((one) => one === '206 bytes=10-')).toHaveLength(4);
  });

  it.skipIf(inject('backingKind') !== 'containers')('runs in a container too', async () => {
    const contained = await openNginx(platform, { mode: 'containers' });
    expect((await send(`${contained.url}/docs`)).status).toBe(200);
    const headers = await bearer('in-container', 'device');
    const url = `${contained.url}/api/v1/telemetry`;
    expect((await send(url, { method: 'POST', headers, body: '{"value":1}' })).status).toBe(202);
    expectProblem(await send(`${contained.url}/nowhere`), 404);
  });

  it('lets pages of ALLOWED_ORIGINS read answers, and no others', async () => {
    const preflight = (from: string) =>
      send(`${nginx.url}/api/v1/telemetry`, {
        method: 'OPTIONS',
        headers: { origin: from, 'access-control-request-method': 'POST' },
      });
    expect((await preflight(origin)).headers['access-control-allow-origin']).toBe(origin);
    expect((await preflight('https://other.example')).headers['access-control-allow-origin']).toBeUndefined();
    const ofNginx = (from: string) => send(`${nginx.url}/nowhere`, { headers: { origin: from } });
    expect((await ofNginx(origin)).headers['access-control-allow-origin']).toBe(origin);
    expect((await ofNginx('https://other.example')).headers['access-control-allow-origin']).toBeUndefined();
  });

  it.each([
    ['query-api', 'GET', '/api/v1/status', '127.0.0.7'],
    ['ingest-ws', 'POST', '/api/v1/telemetry', '127.0.0.9'],
  ])(
    'passes on the address of the client to %s, whatever the client says it is',
    async (_service, method, path, from) => {
      const refused = (localAddress: string) =>
        send(`${nginx.url}${path}`, {
          method,
          localAddress,
          headers: {
            authorization: 'Bearer no-token',
            'x-forwarded-for': `198.51.100.${Math.ceil(Math.random() * 200)}`,
          },
        });
      for (let count = 0; count < refusedTokensMax; count += 1) expect((await refused(from)).status).toBe(401);
      expect((await refused(from)).status).toBe(429);
      expect((await refused('127.0.0.8')).status).toBe(401);
    },
  );

  it('answers a body above the limit of the services with a problem document that names the limit', async () => {
    const headers = await bearer('large', 'device');
    const url = `${nginx.url}/api/v1/telemetry`;
    const body = (bytes: number) => Buffer.alloc(bytes, ' ');
    const { detail } = expectProblem(
      await send(url, { method: 'POST', headers, body: body(limits.payloadBytesMax + 1) }),
      413,
    );
    expect(detail).toContain(`${limits.payloadBytesMax} bytes`);
    expect((await send(url, { method: 'POST', headers, body: body(limits.payloadBytesMax) })).status).toBe(400);
  });

  it('passes on the parts of a stream as they are sent', async () => {
    const [more, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const source = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: first\n\n');
      void more.promise.then(() => response.write('data: second\n\n'));
      void finish.promise.then(() => response.end('data: last\n\n'));
    }).listen(0, '127.0.0.1');
    cleanUp(() => source.close());
    await once(source, 'listening');
    const { port } = source.address() as AddressInfo;
    const streaming = await openNginx(platform, { queryApi: [`127.0.0.1:${port}`] });
    const reader = (await fetch(`${streaming.url}/api/v1/live?devices=a`))
      .body!.pipeThrough(new TextDecoderStream())
      .getReader();
    expect((await reader.read()).value).toBe('data: first\n\n');
    more.resolve();
    expect((await reader.read()).value).toBe('data: second\n\n');
    finish.resolve();
    expect((await reader.read()).value).toBe('data: last\n\n');
  });

  it('passes on the id of a request, or gives it one', async () => {
    const of = async (headers: Record<string, string>) =>
      (await send(`${nginx.url}/api/v1/status`, { headers })).headers['x-request-id'];
    expect(await of({ 'x-request-id': 'mine-1' })).toBe('mine-1');
    expect(await of({ 'x-request-id': 'not an id' })).toMatch(/^[0-9a-f]{32}$/);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await of({ 'x-request-id': 'traced', traceparent });
    await eventually(() =>
      expect(nginx.accessLog()).toMatch(new RegExp(`"requestId":"traced","traceparent":"${traceparent}"`)),
    );
  });

  it('writes no token into its logs', async () => {
    const token = await platform.keys.token('logged', 'device');
    const parts = token.split('.');
    await send(`${nginx.url}/api/v1/status?access_token=${token}`, {
      headers: { authorization: `Bearer ${token}`, referer: `${nginx.url}/?token=${token}` },
    });
    await send(`${nginx.url}/nowhere/${token}`);
    await send(`${nginx.url}/nowhere%3Ftoken=${token}`);
    await sendHeaders(`${nginx.url}/ws?token=${token}&epoch=a`, {
      ...upgradeHeaders,
      'Sec-WebSocket-Protocol': `fleetwire.v1.json, fleetwire.token.${token}`,
    });
    // With a failure of the upstream too, which nginx logs with the request.
    const closed = await openNginx(platform, { queryApi: ['127.0.0.1:9'] });
    await send(`${closed.url}/api/v1/status?access_token=${token}`, { headers: { authorization: `Bearer ${token}` } });
    await eventually(() => expect(closed.accessLog()).toContain('"status":502'));
    await eventually(() => expect(nginx.accessLog()).toContain('"path":"/ws"'));
    for (const log of [nginx.accessLog(), nginx.errorLog(), closed.accessLog(), closed.errorLog()])
      for (const part of parts) expect(log).not.toContain(part);
    const lines = nginx.accessLog().trimEnd().split('\n');
    for (const line of lines)
      expect(JSON.parse(line)).toMatchObject({ address: expect.any(String), seconds: expect.any(Number) });
  });
});

describe('a request of a web page of another host', () => {
  it('is refused without tokens, as nginx passes on Host and Origin', async () => {
    const open = await startAll({ AUTH_MODE: 'open', AUTH_JWKS: '' }, { 'persistence-worker': 0 });
    const local = await openNginx(open);
    const status = async (headers: Record<string, string>) =>
      (await send(`${local.url}/api/v1/data`, { headers })).status;
    expect(await status({})).toBe(200);
    expect(await status({ host: 'rebound.example' })).toBe(403);
    expect(await status({ origin: 'https://other.example' })).toBe(403);
    const upgrade = (headers: Record<string, string>) =>
      sendHeaders(`${local.url}/ws`, { Host: new URL(local.url).host, ...upgradeHeaders, ...headers });
    expect((await upgrade({})).status).toBe(101);
    expect((await upgrade({ Origin: 'https://other.example' })).status).toBe(403);
  });
});

describe('limits of one address', () => {
  it('answers too many requests with a problem document that names the limit, and does not affect other addresses', async () => {
    const strict = await openNginx(platform, { requestsPerSecondMax: 5 });
    const ask = (localAddress: string) => send(`${strict.url}/api/v1/status`, { localAddress });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask('127.0.0.7')));
    const refused = answers.filter(({ status }) => status !== 401);
    expect(refused.length).toBeGreaterThan(5);
    for (const answer of refused) {
      expect(expectProblem(answer, 429).detail).toContain('More than 5 requests');
      expect(answer.headers['retry-after']).toBe('1');
    }
    expect((await ask('127.0.0.8')).status).toBe(401);
  });

  it('refuses the socket of an address that has too many', async () => {
    const strict = await openNginx(platform, { connectionsPerAddressMax: 2 });
    const tokens = await Promise.all(['first', 'second', 'third'].map((id) => platform.keys.token(id, 'device')));
    const headers = { ...upgradeHeaders, authorization: `Bearer ${tokens[2]}` };
    const sockets = tokens
      .slice(0, 2)
      .map((token) => new WebSocket(strict.webSocketUrl, ['fleetwire.v1.json', `fleetwire.token.${token}`]));
    cleanUp(() => sockets.forEach((socket) => socket.close()));
    await eventually(() => expect(sockets.map(({ readyState }) => readyState)).toEqual([1, 1]));
    const answer = await send(`${strict.url}/ws`, { headers });
    expect(expectProblem(answer, 429).detail).toContain('More than 2 requests and sockets');
  });
});
