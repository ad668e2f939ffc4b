import { subprotocol } from '@fleetwire/contracts/device-protocol';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { sendHeaders, upgradeHeaders } from '@fleetwire/platform/testing/send-headers';
import { expect, it } from 'vitest';
import WebSocket from 'ws';
import { openNginx } from './nginx-platform.ts';
import { createPlatform } from './platform.ts';

const platform = await createPlatform(
  { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() },
  { TRUST_PROXY_HOPS: '1' },
);
const api = await platform.start('query-api');
const worker = platform.start('persistence-worker');
const ingest = await platform.start('ingest-ws', { env: { QUERY_API_URL: api.url } });
await worker;
const nginx = await openNginx(platform);
const { origin } = new URL(nginx.url);

async function signIn(subject: string, role: 'analyst' | 'admin'): Promise<string> {
  const answer = await fetch(`${nginx.url}/api/v1/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: await platform.keys.token(subject, role) }),
  });
  expect(answer.status).toBe(201);
  return answer.headers.getSetCookie()[0]!.split(';')[0]!;
}

const signOut = (cookie: string) =>
  fetch(`${nginx.url}/api/v1/session`, { method: 'DELETE', headers: { cookie, origin } });

/** As a browser opens it: only the page's origin and its cookie are sent. */
function open(cookie: string) {
  const socket = new WebSocket(nginx.webSocketUrl, [subprotocol], { headers: { cookie }, origin });
  const watched = { socket, messages: [] as Record<string, unknown>[], code: 0 };
  socket.on('message', (data: Buffer) => watched.messages.push(JSON.parse(data.toString()) as never));
  socket.on('close', (code) => (watched.code = code));
  cleanUp(() => socket.terminate());
  return watched;
}

it('opens live sockets of pages of its own origin only: a page elsewhere that makes the browser send the cookie is refused', async () => {
  const cookie = await signIn('ada', 'analyst');
  const upgrade = { ...upgradeHeaders, Cookie: cookie };
  const statusWith = async (headers: Record<string, string>) =>
    (await sendHeaders(nginx.webSocketUrl, { ...upgrade, ...headers })).status;
  expect(await statusWith({ Origin: 'https://evil.example' })).toBe(403);
  expect(await statusWith({ Origin: `http://127.0.0.1:${Number(new URL(origin).port) + 1}` })).toBe(403);
  expect(await statusWith({ Origin: 'null' })).toBe(403);
  expect(await statusWith({})).toBe(403);
  expect(await statusWith({ Origin: origin })).toBe(101);
  expect(await statusWith({ Origin: origin, Cookie: `${cookie}x` })).toBe(401);
});

it('shows a signed-in page history and live data on one socket, and closes it with 4401 when the session ends elsewhere', async () => {
  const device = await platform.keys.token('pump-1', 'device');
  const send = (seq: number) =>
    fetch(`${nginx.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: { authorization: `Bearer ${device}`, 'content-type': 'application/json' },
      body: JSON.stringify({ metrics: { seq } }),
    });
  expect((await send(1)).status).toBe(202);
  const [cookie, other] = [await signIn('ada', 'analyst'), await signIn('ada', 'analyst')];
  const [watched, kept] = [open(cookie), open(other)];
  await eventually(() => expect(watched.messages[0]).toMatchObject({ type: 'hello', deviceId: 'ada' }));
  watched.socket.send(JSON.stringify({ type: 'subscribe', id: 's', pattern: '*', since: 'now-1h' }));
  const seqs = () =>
    watched.messages
      .filter(({ type }) => type === 'data_update')
      .flatMap(({ readings }) => (readings as { metrics: { seq: number } }[]).map(({ metrics }) => metrics.seq));
  await eventually(() => expect(seqs()).toEqual([1]));
  expect((await send(2)).status).toBe(202);
  await eventually(() => expect(seqs()).toEqual([1, 2]));
  expect((await signOut(cookie)).status).toBe(204);
  await eventually(() => expect(watched.code).toBe(4401));
  expect(kept.code).toBe(0);
});

it('lets a signed-in admin send readings from a page, and refuses a form of another site', async () => {
  const cookie = await signIn('root', 'admin');
  const send = async (headers: Record<string, string>) =>
    (
      await fetch(`${nginx.url}/api/v1/telemetry`, {
        method: 'POST',
        headers: { cookie, 'content-type': 'text/plain', ...headers },
        body: '{"deviceId":"by-hand","metrics":{"value":1}}',
      })
    ).status;
  expect(await send({ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' })).toBe(403);
  expect(await send({})).toBe(403);
  expect(await send({ origin, 'sec-fetch-site': 'same-origin' })).toBe(202);
});

it('keeps the sockets of sessions open while query-api is away, and opens further ones of sessions that were seen; devices notice nothing', async () => {
  const [cookie, unseen] = [await signIn('ada', 'analyst'), await signIn('grace', 'analyst')];
  const watched = open(cookie);
  await eventually(() => expect(watched.messages[0]).toMatchObject({ type: 'hello' }));
  await api.kill();
  const again = open(cookie);
  await eventually(() => expect(again.messages[0]).toMatchObject({ type: 'hello' }));
  const upgrade = { ...upgradeHeaders, Origin: origin };
  expect((await sendHeaders(nginx.webSocketUrl, { ...upgrade, Cookie: unseen })).status).toBe(503);
  const device = await platform.keys.token('pump-1', 'device');
  const { status } = await sendHeaders(nginx.webSocketUrl, { ...upgradeHeaders, Authorization: `Bearer ${device}` });
  expect(status).toBe(101);
  expect(watched.code).toBe(0);
  await ingest.kill();
});
