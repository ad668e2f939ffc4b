import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { sendHeaders, upgradeHeaders } from '@fleetwire/platform/testing/send-headers';
import { describe, expect, it } from 'vitest';
import { connect, ingest, queued, telemetry, token, untilReady } from './harness.ts';

/** However long HEARTBEAT_INTERVAL_MS is. */
const closedWithinMs = 5_000;

describe('access of devices', async () => {
  const amqpUrl = await freshVhost();
  const edge = await ingest(amqpUrl, { AUTH_CLOCK_TOLERANCE_SECONDS: '0' });
  const readings = await queued(amqpUrl);

  async function forged(): Promise<string> {
    const { privateJwks } = await generateKeySet({ kid: 'stranger' });
    const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
    return (await minter.mint({ subject: 'a', role: 'admin', expiresInSeconds: 60 })).token;
  }

  it.each([
    ['no token', async () => undefined, 401],
    ['garbage', async () => 'abc.def.ghi', 401],
    ['a forged token', forged, 401],
    ['an expired token', () => token('a', 'device', -10), 401],
    ['a role that does not exist', () => token('a', 'king'), 401],
  ])('refuses %s before the upgrade', async (_name, bearer, status) => {
    await expect(connect(edge.webSocketUrl, { token: await bearer() })).rejects.toThrow(String(status));
  });

  it('closes a refused upgrade also when the client keeps its side of the connection open', async () => {
    const { hostname, port } = new URL(edge.webSocketUrl);
    const client = createConnection({ host: hostname, port: Number(port), allowHalfOpen: true });
    client.on('error', () => {});
    const headers = { Host: `${hostname}:${port}`, Authorization: 'Bearer abc.def.ghi', ...upgradeHeaders };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    client.write(`GET /ws HTTP/1.1\r\n${lines.join('')}\r\n`);
    expect(await text(client)).toMatch(/^HTTP\/1\.1 401 /);
    await eventually(() => {
      client.write('x');
      expect(client.destroyed).toBe(true);
    });
  });

  it('refuses another path and a malformed epoch before the upgrade', async () => {
    const bearer = await token('a');
    await expect(connect(edge.webSocketUrl.replace('/ws', '/other'), { token: bearer })).rejects.toThrow('404');
    await expect(connect(`${edge.webSocketUrl}?epoch=a%20b`, { token: bearer })).rejects.toThrow('400');
  });

  it.each(['//', 'http://['])('refuses an upgrade of %s, which is not a URL, with 400', async (target) => {
    const socket = createConnection(edge.port, '127.0.0.1');
    socket.write(
      `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    expect((await text(socket)).split('\r\n')[0]).toBe('HTTP/1.1 400 Bad request');
  });

  it('accepts a browser, which sends its token as a second subprotocol', async () => {
    const browser = await connect(edge.webSocketUrl, {
      protocols: ['fleetwire.v1.json', `fleetwire.token.${await token('page')}`],
    });
    expect(browser.socket.protocol).toBe('fleetwire.v1.json');
    expect(await browser.next('hello')).toMatchObject({ deviceId: 'page' });
  });

  it('gives a final nack to the readings that a device publishes as another device, and accepts those that it publishes as itself', async () => {
    const device = await connect(edge.webSocketUrl, { token: await token('honest') });
    device.send({ ...telemetry(1), deviceId: 'victim' });
    expect(await device.next('nack')).toMatchObject({ seq: 1, code: 'forbidden', retryable: false });
    device.send(telemetry(2));
    expect(await device.next('ack')).toMatchObject({ upTo: 2 });
    await eventually(() => expect(readings.some(({ deviceId }) => deviceId === 'honest')).toBe(true));
    expect(readings.some(({ deviceId }) => deviceId === 'victim')).toBe(false);
  });

  it('lets a gateway with an admin token publish for any device, with acks for each stream', async () => {
    const gateway = await connect(edge.webSocketUrl, { token: await token('gateway', 'admin') });
    gateway.send({ ...telemetry(1), deviceId: 'left', epoch: 'l' });
    gateway.send({ ...telemetry(9), deviceId: 'right', epoch: 'r' });
    await eventually(() => {
      expect(gateway.messages).toContainEqual({ type: 'ack', upTo: 1, deviceId: 'left', epoch: 'l' });
      expect(gateway.messages).toContainEqual({ type: 'ack', upTo: 9, deviceId: 'right', epoch: 'r' });
    });
  });

  it('tells a gateway once for each of its streams which numbers an unreadable frame may have held', async () => {
    const gateway = await connect(edge.webSocketUrl, { token: await token('gateway-2', 'admin') });
    const send = (deviceId: string, seq: number) => gateway.send({ ...telemetry(seq), deviceId, epoch: 'e' });
    const acked = async (deviceId: string, upTo: number) =>
      eventually(() => expect(gateway.messages).toContainEqual({ type: 'ack', upTo, deviceId, epoch: 'e' }));
    for (const id of ['north', 'east', 'south']) send(id, 0);
    for (const id of ['north', 'east', 'south']) await acked(id, 0);
    gateway.send('{"type":"telemetry",');
    send('north', 1);
    send('east', 3);
    await acked('north', 1);
    await acked('east', 3);
    send('south', 2);
    send('east', 5);
    await acked('south', 2);
    await acked('east', 5);
    expect(gateway.messages.filter(({ type }) => type === 'nack')).toMatchObject([
      { deviceId: 'east', seq: 1, count: 2, code: 'unreadable-frame' },
      { deviceId: 'south', seq: 1, count: 1, code: 'unreadable-frame' },
    ]);
  });

  it('names no numbers of other streams to a gateway when an unreadable frame names its stream', async () => {
    const gateway = await connect(edge.webSocketUrl, { token: await token('gateway-3', 'admin') });
    const send = (deviceId: string, seq: unknown) => gateway.send({ ...telemetry(1), seq, deviceId, epoch: 'e' });
    const acked = async (deviceId: string, upTo: number) =>
      eventually(() => expect(gateway.messages).toContainEqual({ type: 'ack', upTo, deviceId, epoch: 'e' }));
    send('up', 1);
    send('down', 1);
    send('down', '2');
    send('up', 5);
    send('new', 500);
    await acked('up', 5);
    await acked('new', 500);
    expect(gateway.messages.filter(({ type }) => type === 'nack')).toEqual([]);
    send('down', 3);
    await acked('down', 3);
    expect(gateway.messages.filter(({ type }) => type === 'nack')).toMatchObject([
      { deviceId: 'down', seq: 2, count: 1, code: 'unreadable-frame' },
    ]);
  });

  it('counts the readings of an unreadable frame of a gateway once, however many streams it may have been of', async () => {
    const counting = await ingest(amqpUrl);
    const gateway = await connect(counting.webSocketUrl, { token: await token('gateway-4', 'admin') });
    gateway.send('{"type":"telemetry",');
    for (let n = 0; n < 5; n += 1) gateway.send({ ...telemetry(5_000), deviceId: `d-${n}`, epoch: 'e' });
    await eventually(() => expect(gateway.messages.filter(({ type }) => type === 'nack')).toHaveLength(5));
    expect(await (await fetch(`${counting.url}/metrics`)).text()).toContain(
      'fleetwire_ingest_readings_total{result="rejected"} 1000',
    );
  });

  it('closes a session with 4401 when its token expires', async () => {
    const checking = await ingest(amqpUrl, { AUTH_CLOCK_TOLERANCE_SECONDS: '0' });
    const device = await connect(checking.webSocketUrl, { token: await token('brief', 'device', 2) });
    const openedAt = Date.now();
    expect(await device.closed).toMatchObject({ code: 4401 });
    expect(Date.now() - openedAt).toBeLessThan(2_000 + closedWithinMs);
  });

  it('closes a session with 4401 when the key of its token is removed, and leaves those of the other keys open', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fleetwire-keys-'));
    cleanUp(() => rm(directory, { recursive: true }));
    const path = join(directory, 'keys.json');
    const [removed, kept] = [await generateKeySet({ kid: 'removed' }), await generateKeySet({ kid: 'kept' })];
    await writeFile(path, JSON.stringify({ keys: [...removed.publicJwks.keys, ...kept.publicJwks.keys] }));
    const revoking = await ingest(amqpUrl, { AUTH_JWKS: '', AUTH_JWKS_FILE: path });
    const open = async ({ privateJwks }: typeof removed, subject: string, role: string) => {
      const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
      const minted = await minter.mint({ subject, role, expiresInSeconds: 3_600 });
      return connect(revoking.webSocketUrl, { token: minted.token });
    };
    const device = await open(removed, 'a', 'device');
    const gateway = await open(removed, 'gateway', 'admin');
    const other = await open(kept, 'b', 'device');

    // A new key under the old name does not make the old tokens valid again.
    const namesake = await generateKeySet({ kid: 'removed' });
    await writeFile(path, JSON.stringify({ keys: [...kept.publicJwks.keys, ...namesake.publicJwks.keys] }));
    const removedAt = Date.now();
    for (const one of [device, gateway])
      expect(await one.closed).toEqual({ code: 4401, reason: 'the key of the token was removed' });
    expect(Date.now() - removedAt).toBeLessThan(closedWithinMs);
    other.send(telemetry(1));
    expect(await other.next('ack')).toMatchObject({ upTo: 1 });
    expect(await (await fetch(`${revoking.url}/metrics`)).text()).toContain(
      'fleetwire_ingest_ended_tokens_total{cause="key-removed"} 2',
    );
  });

  it('refuses further invalid tokens of an address with 429, over HTTP and before the upgrade, and accepts its valid ones', async () => {
    const guarded = await ingest(amqpUrl);
    await untilReady(guarded);
    const post = async (bearer: string) => {
      const response = await fetch(`${guarded.url}/api/v1/telemetry`, {
        method: 'POST',
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        body: JSON.stringify({ metrics: { t: 1 } }),
      });
      return response.status;
    };
    const statuses = [];
    for (let call = 0; call < 75; call += 1) statuses.push(await post('x'));
    expect(statuses.indexOf(429)).toBe(60);
    await expect(connect(guarded.webSocketUrl, { token: 'x' })).rejects.toThrow('429');

    expect(await post(await token('guarded'))).toBe(202);
    const device = await connect(guarded.webSocketUrl, { token: await token('guarded') });
    expect(await device.next('hello')).toMatchObject({ deviceId: 'guarded' });
    expect(await (await fetch(`${guarded.url}/metrics`)).text()).toContain(
      'fleetwire_refused_tokens_total{status="429"} 16',
    );
  });

  it('in open mode refuses web pages of other hosts by Host and Origin with 403, over HTTP and before the upgrade', async () => {
    const open = await ingest(amqpUrl, { AUTH_MODE: 'open', AUTH_JWKS: '' });
    const { host } = new URL(open.url);
    for (const foreign of [
      { Host: host, Origin: 'http://evil.example' },
      // A sandboxed frame of any page has the same origin as a page that was opened as a file.
      { Host: host, Origin: 'null' },
      { Host: 'evil.example' },
    ]) {
      expect((await sendHeaders(open.webSocketUrl, { ...upgradeHeaders, ...foreign })).status).toBe(403);
      expect((await sendHeaders(`${open.url}/api/v1/telemetry`, foreign, 'POST')).status).toBe(403);
    }
    for (const local of [{ Host: host }, { Host: 'localhost:8080', Origin: 'http://localhost:3000' }])
      expect((await sendHeaders(open.webSocketUrl, { ...upgradeHeaders, ...local })).status).toBe(101);
  });

  it('with ALLOWED_ORIGINS refuses sockets of other web pages with 403, and accepts devices, which have no origin', async () => {
    const shared = await ingest(amqpUrl, { ALLOWED_ORIGINS: 'https://dashboard.example' });
    const authorization = `Bearer ${await token('page')}`;
    const status = async (origin: Record<string, string>) =>
      (await sendHeaders(shared.webSocketUrl, { ...upgradeHeaders, authorization, ...origin })).status;
    expect(await status({ Origin: 'https://evil.example' })).toBe(403);
    expect(await status({ Origin: 'https://dashboard.example' })).toBe(101);
    expect(await status({})).toBe(101);
  });
});
