import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { signDocument } from '@fleetwire/auth/signed-document';
import { createKeys } from '@fleetwire/platform/keys';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createPlatform, webSocketUrlOf } from './platform.ts';

const platform = await createPlatform(
  { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() },
  { REGISTRY_POLL_MS: '100' },
);
const { keys } = platform;
await platform.start('persistence-worker');
const api = await platform.start('query-api', { env: { AUTH_JWKS: JSON.stringify(keys.privateJwks) } });
const registry = { QUERY_API_URL: api.url, REGISTRY_TOKEN: await keys.token('edge', 'analyst') };
const closed = await platform.start('ingest-ws', { env: { ...registry, REGISTRATION: 'closed' } });
const open = await platform.start('ingest-ws', { env: registry });
const operator = await keys.token('oscar', 'operator');
const admin = await keys.token('gateway', 'admin');

async function change(method: string, path: string, body?: unknown): Promise<number> {
  const response = await fetch(`${api.url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json', 'if-match': '*' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  await response.body?.cancel();
  return response.status;
}

const register = (deviceId: string) => change('POST', '/devices', { deviceId });
const setStatus = (deviceId: string, status: string) => change('PATCH', `/devices/${deviceId}/status`, { status });

/** The open socket, or the status with which the upgrade was refused. */
async function connect(edge: ServiceProcess, deviceId: string): Promise<WebSocket | number> {
  const socket = new WebSocket(webSocketUrlOf(edge), 'fleetwire.v1.json', {
    headers: { authorization: `Bearer ${await keys.token(deviceId, 'device')}` },
  });
  cleanUp(async () => socket.terminate());
  return new Promise((resolve) => {
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
    socket.once('error', () => {});
  });
}

const post = async (edge: ServiceProcess, token: string, deviceId: string) => {
  const response = await fetch(`${edge.url}/api/v1/telemetry`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ deviceId, metrics: { a: 1 } }),
  });
  return { status: response.status, text: await response.text() };
};

describe('REGISTRATION=closed', () => {
  it('refuses a device that is not registered with 403, and accepts it soon after it was registered', async () => {
    expect(await connect(closed, 'press-1')).toBe(403);
    const own = await keys.token('press-1', 'device');
    expect(await post(closed, own, 'press-1')).toMatchObject({
      status: 403,
      text: expect.stringContaining('is not registered'),
    });
    expect(await register('press-1')).toBe(201);
    await eventually(async () => expect(await connect(closed, 'press-1')).toBeInstanceOf(WebSocket));
    expect((await post(closed, own, 'press-1')).status).toBe(202);
  });

  it('refuses readings that a gateway sends for a device that is not registered, and takes those of others', async () => {
    expect(await register('press-2')).toBe(201);
    await eventually(async () => expect((await post(closed, admin, 'press-2')).status).toBe(202));
    expect((await post(closed, admin, 'stranger')).status).toBe(403);
  });

  it('refuses a retired device', async () => {
    expect(await register('press-3')).toBe(201);
    await eventually(async () => expect((await post(closed, admin, 'press-3')).status).toBe(202));
    expect(await change('DELETE', '/devices/press-3')).toBe(200);
    await eventually(async () => expect((await post(closed, admin, 'press-3')).status).toBe(403));
    expect((await post(open, admin, 'press-3')).status).toBe(202);
  });
});

describe('a suspended device', () => {
  it.each([
    ['closed', closed],
    ['open', open],
  ])(
    'has its socket closed with 4403 and is refused with registration %s, until it is active again',
    async (name, edge) => {
      const deviceId = `suspended-${name}`;
      expect(await register(deviceId)).toBe(201);
      await eventually(async () => expect((await post(edge, admin, deviceId)).status).toBe(202));
      const socket = (await connect(edge, deviceId)) as WebSocket;
      const ended = once(socket, 'close');
      expect(await setStatus(deviceId, 'suspended')).toBe(200);
      const [code, reason] = (await ended) as [number, Buffer];
      expect([code, reason.toString()]).toEqual([4403, expect.stringContaining('is suspended')]);
      expect(await connect(edge, deviceId)).toBe(403);
      expect((await post(edge, admin, deviceId)).status).toBe(403);
      expect(await setStatus(deviceId, 'active')).toBe(200);
      await eventually(async () => expect(await connect(edge, deviceId)).toBeInstanceOf(WebSocket));
    },
  );

  it('leaves unknown devices alone where registration is open', async () => {
    expect(await connect(open, 'never-registered')).toBeInstanceOf(WebSocket);
  });
});

describe('an edge', () => {
  it('keeps what it knows while query-api is away, and says how old it is', async () => {
    const edge = await platform.start('ingest-ws', {
      env: { ...registry, REGISTRATION: 'closed', REGISTRY_SNAPSHOT_AGE_MAX_MS: '1000' },
    });
    expect(await register('kept')).toBe(201);
    await eventually(async () => expect((await post(edge, admin, 'kept')).status).toBe(202));
    await api.kill();
    await eventually(async () => {
      const ready = await fetch(`${edge.url}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining('the registry snapshot is')]);
    });
    expect((await post(edge, admin, 'kept')).status).toBe(202);
    expect((await post(edge, admin, 'stranger')).status).toBe(403);
    await edge.kill();
    edge.start();
    await eventually(async () => expect((await post(edge, admin, 'kept')).status).toBe(503));
    expect((await fetch(`${edge.url}/readyz`)).status).toBe(503);
    api.start();
    await api.untilReady();
    await eventually(async () => expect((await post(edge, admin, 'kept')).status).toBe(202));
  });

  it('takes no snapshot that another key has signed', async () => {
    const forged = async (path: string, authorization = '') => {
      const answer = await fetch(`${api.url}${path}`, { headers: { authorization } });
      const text = await answer.text();
      return { status: answer.status, text: text.includes('"document"') ? await resigned(text) : text };
    };
    const forger = createServer((request, response) => {
      void forged(request.url!, request.headers.authorization).then(
        ({ status, text }) => response.writeHead(status, { 'content-type': 'application/json' }).end(text),
        // The edge asks on while query-api stops at the end.
        () => response.destroy(),
      );
    }).listen(0, '127.0.0.1');
    await once(forger, 'listening');
    cleanUp(async () => void forger.close());
    const QUERY_API_URL = `http://127.0.0.1:${(forger.address() as AddressInfo).port}`;
    const edge = await platform.start('ingest-ws', { env: { ...registry, QUERY_API_URL } });
    const metric = await edge.metric('fleetwire_registry_snapshot_age_seconds');
    await eventually(async () =>
      expect(await edge.metric('fleetwire_registry_snapshot_age_seconds')).toBeGreaterThan(metric + 0.5),
    );
  });
});

/** The same document, signed with a key of the same name that is not ours. */
async function resigned(text: string): Promise<string> {
  const answer = JSON.parse(text) as { document: string };
  const [header = '', payload = ''] = answer.document
    .split('.')
    .map((part) => Buffer.from(part, 'base64url').toString());
  const { kid, typ } = JSON.parse(header) as { kid: string; typ: string };
  const { privateJwks } = await createKeys();
  const keySet = { keys: privateJwks.keys.map((key) => ({ ...key, kid })) };
  const document = await signDocument(JSON.parse(payload) as object, typ, { current: async () => keySet });
  return JSON.stringify({ ...answer, document });
}
