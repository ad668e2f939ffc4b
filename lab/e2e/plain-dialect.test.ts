import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { openNginx, send } from './nginx-platform.ts';
import { createPlatform } from './platform.ts';

// The messages are those of the three programs of github.com/artorias961/Websocket-REST-API-using-Python, byte by byte.

interface Message {
  readonly type: string;
  readonly device_id?: string;
  readonly value?: unknown;
  readonly source?: string;
  readonly data_snapshot?: Record<string, { value: unknown; updated_at_utc: string }>;
}

/** Several instances behind nginx, without tokens, as `npm start -- --open` runs them. */
async function startOpen() {
  const platform = await createPlatform(
    { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() },
    { AUTH_MODE: 'open', AUTH_JWKS: '', TRUST_PROXY_HOPS: '1', DRAIN_GRACE_MS: '0' },
  );
  const api = await platform.start('query-api');
  await platform.start('persistence-worker');
  const edges = await Promise.all([1, 2].map(() => platform.start('ingest-ws', { env: { QUERY_API_URL: api.url } })));
  const nginx = await openNginx(platform);
  const call = async (method: string, path: string, body?: string) => {
    const headers = { 'content-type': 'application/json', accept: '*/*', 'user-agent': 'python-requests/2.28.1' };
    const answer = await send(`${nginx.url}${path}`, { method, headers, ...(body !== undefined && { body }) });
    return { status: answer.status, text: answer.body, body: JSON.parse(answer.body) as Record<string, any> };
  };
  return { platform, edges, nginx, call };
}

/** A client that names no subprotocol and receives one message after another. */
async function connect(url: string) {
  const socket = new WebSocket(url);
  const texts: string[] = [];
  let taken = 0;
  socket.on('message', (data: Buffer) => texts.push(data.toString('utf8')));
  cleanUp(() => socket.terminate());
  const receive = () =>
    eventually(() => {
      expect(texts.length).toBeGreaterThan(taken);
      return JSON.parse(texts[taken++]!) as Message;
    });
  const messages = () => texts.map((text) => JSON.parse(text) as Message);
  return { socket, hello: await receive(), receive, messages };
}

const { edges, nginx, call } = await startOpen();

describe('the plain dialect, through nginx', () => {
  it('serves the three programs unchanged', async () => {
    const dashboard = await connect(nginx.webSocketUrl);
    expect(dashboard.hello).toMatchObject({ type: 'hello', message: 'connected', data_snapshot: {} });

    const deviceOne = await connect(nginx.webSocketUrl);
    for (const value of [25.41, 20.0, 29.97]) {
      deviceOne.socket.send(`{"type": "telemetry", "device_id": "device_one", "value": ${value}}`);
      // It goes on when it has received one message.
      expect(await deviceOne.receive()).toMatchObject({
        type: 'data_update',
        device_id: 'device_one',
        value,
        source: 'websocket',
      });
    }

    const posted = await call(
      'POST',
      '/api/data',
      '{"device_id": "device_two", "value": {"rpm": 1234, "mode": "auto"}}',
    );
    expect(posted).toMatchObject({
      status: 200,
      body: { ok: true, stored: true, event: { device_id: 'device_two', value: { rpm: 1234, mode: 'auto' } } },
    });
    expect((await call('GET', '/api/status')).body).toMatchObject({ timestamp_utc: expect.stringContaining('+00:00') });

    // Sent again as it does, since the other instance hears later what is watched here.
    await eventually(async () => {
      await call('POST', '/api/data', '{"device_id": "device_two", "value": {"rpm": 1234, "mode": "auto"}}');
      expect(dashboard.messages()).toContainEqual(
        expect.objectContaining({ ...posted.body['event'], timestamp_utc: expect.any(String) }),
      );
    });
    await eventually(() =>
      expect(dashboard.messages().findLast(({ device_id }) => device_id === 'device_one')).toMatchObject({
        value: 29.97,
      }),
    );
    dashboard.socket.send('{"type":"ping"}');
    await eventually(() => expect(dashboard.messages()).toContainEqual(expect.objectContaining({ type: 'pong' })));
    dashboard.socket.send('{"type":"telemetry","device_id":"dashboard_device","value":42}');
    await eventually(() =>
      expect(dashboard.messages()).toContainEqual(
        expect.objectContaining({ device_id: 'dashboard_device', value: 42 }),
      ),
    );
    expect(dashboard.messages().some(({ type }) => ['error', 'ack', 'gap', 'subscribed'].includes(type))).toBe(false);
  });

  it('greets a later client with what is stored, as GET /api/data has it', async () => {
    await eventually(async () => {
      const { body } = await call('GET', '/api/data');
      expect(body['data']).toMatchObject({
        device_one: { value: 29.97, updated_at_utc: expect.stringContaining('+00:00') },
        device_two: { value: { rpm: 1234, mode: 'auto' } },
        dashboard_device: { value: 42 },
      });
      const later = await connect(nginx.webSocketUrl);
      expect(later.hello.data_snapshot).toEqual(body['data']);
    });
  });

  it('counts the sockets of all instances, and is not ok once no instance acknowledges', async () => {
    await Promise.all([1, 2, 3, 4].map(() => connect(nginx.webSocketUrl)));
    const open = () => Promise.all(edges.map((edge) => edge.metric('fleetwire_ingest_plain_connections')));
    expect((await open()).every((count) => count > 0)).toBe(true);
    await eventually(async () => {
      const connected = (await open()).reduce((sum, count) => sum + count, 0);
      const { body } = await call('GET', '/api/status');
      expect(body).toMatchObject({ ok: true, devices_known: 3, websocket_clients_connected: connected });
      expect(connected).toBe(4);
    });
    await edges[0]!.stop();
    await eventually(async () => {
      const connected = await edges[1]!.metric('fleetwire_ingest_plain_connections');
      expect((await call('GET', '/api/status')).body).toMatchObject({
        ok: true,
        websocket_clients_connected: connected,
      });
    });
    await edges[1]!.kill();
    await eventually(async () =>
      expect((await call('GET', '/api/status')).body).toMatchObject({ ok: false, websocket_clients_connected: 0 }),
    );
  });
});
