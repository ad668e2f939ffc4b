import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { connect, ingest, queued, telemetry, token } from './harness.ts';

/** A client that speaks WebSocket by hand: it answers no close frame and sends on after one. */
interface RudeClient {
  readonly status: number;
  /** Undefined when the upgrade was refused. */
  readonly socket: Socket | undefined;
  send(texts: readonly string[]): void;
}

async function rudeClient(url: string, bearer: string, address = '10.0.0.1'): Promise<RudeClient> {
  const upgrade = request(url.replace('ws', 'http'), {
    headers: {
      authorization: `Bearer ${bearer}`,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': randomBytes(16).toString('base64'),
      'sec-websocket-version': '13',
      'x-forwarded-for': address,
    },
  });
  upgrade.end();
  const [response, socket] = (await Promise.race([once(upgrade, 'upgrade'), once(upgrade, 'response')])) as [
    { statusCode: number; resume?: () => void },
    Socket | undefined,
  ];
  response.resume?.();
  socket?.on('error', () => {});
  socket?.resume();
  cleanUp(() => socket?.destroy());
  return {
    status: response.statusCode,
    socket,
    send: (texts) => void socket?.write(Buffer.concat(texts.map((text) => maskedFrame(text)))),
  };
}

/** Masked with zeros (RFC 6455, 5.2 and 5.3); of fewer than 64 KiB of ASCII. */
function maskedFrame(text: string): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 0x81;
  head[1] = 0x80 | 126;
  head.writeUInt16BE(text.length, 2);
  return Buffer.concat([head, Buffer.from(text)]);
}

async function metric(edge: { url: string }, name: string): Promise<number> {
  const text = await (await fetch(`${edge.url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.split(' ')[1] ?? 0);
}

const limitReached = (limit: string) => `fleetwire_ingest_limits_reached_total{limit="${limit}"}`;

it('a client that does not answer the close frame is not read any more, and is cut after 2 seconds', async () => {
  const amqpUrl = await freshVhost();
  const edge = await ingest(amqpUrl, { MALFORMED_FRAMES_IN_A_ROW_MAX: '20' });
  const readings = await queued(amqpUrl);
  const client = await rudeClient(edge.webSocketUrl, await token('rude'));
  const closed = once(client.socket!, 'close');
  client.send(Array.from({ length: 520 }, () => '{"type":'));
  client.send(Array.from({ length: 20 }, (_, seq) => JSON.stringify(telemetry(seq))));
  await eventually(async () =>
    expect(await metric(edge, 'fleetwire_ingest_closed_sockets_total{reason="4400"}')).toBe(1),
  );
  const before = performance.now();
  await closed;
  expect(performance.now() - before).toBeLessThan(10_000);
  expect(await metric(edge, 'fleetwire_ingest_refused_frames_total{code="malformed-json"}')).toBe(20);
  expect(await metric(edge, 'fleetwire_ingest_readings_total{result="received"}')).toBe(0);
  const witness = await connect(edge.webSocketUrl, { token: await token('witness') });
  witness.send(telemetry(1));
  await witness.next('ack');
  await eventually(() => expect(readings.map(({ deviceId }) => deviceId)).toEqual(['witness']));
});

describe('the sockets of one client are bounded', async () => {
  const edge = await ingest(await freshVhost(), {
    CONNECTIONS_PER_SUBJECT_MAX: '30',
    CONNECTIONS_PER_ADDRESS_MAX: '50',
    TRUST_PROXY_HOPS: '1',
  });
  const statusesOf = (clients: readonly RudeClient[], status: number) =>
    clients.filter((client) => client.status === status).length;

  it.each(['device', 'admin'])('for a subject with the role %s, and others still connect', async (role) => {
    const bearer = await token(`many-${role}`, role);
    const before = await metric(edge, limitReached('connectionsPerSubjectMax'));
    const clients = await Promise.all(
      Array.from({ length: 300 }, (_, n) => rudeClient(edge.webSocketUrl, bearer, `10.1.0.${n % 250}`)),
    );
    const [accepted, refused] = [statusesOf(clients, 101), statusesOf(clients, 429)];
    expect(accepted + refused).toBe(300);
    // A device's older sockets are cut while the upgrades go on, which makes room for more.
    if (role === 'admin') expect(accepted).toBe(30);
    expect(await metric(edge, limitReached('connectionsPerSubjectMax'))).toBe(before + refused);
    expect(await metric(edge, 'fleetwire_ingest_connections')).toBeLessThanOrEqual(30);
    expect(refused).toBeGreaterThan(0);
    expect((await rudeClient(edge.webSocketUrl, await token(`other-${role}`))).status).toBe(101);
    for (const { socket } of clients) socket?.destroy();
    await eventually(async () => expect(await metric(edge, 'fleetwire_ingest_connections')).toBeLessThanOrEqual(1));
    await eventually(async () => expect((await rudeClient(edge.webSocketUrl, bearer)).status).toBe(101));
  });

  it('of which a device keeps one: replaced ones that answer no close frame are cut', async () => {
    const bearer = await token('replaced');
    const clients: RudeClient[] = [];
    for (let n = 0; n < 5; n += 1) clients.push(await rudeClient(edge.webSocketUrl, bearer, '10.4.0.1'));
    await eventually(() =>
      expect(clients.map(({ socket }) => socket!.destroyed)).toEqual([true, true, true, true, false]),
    );
  });

  it('for an address, and another address still connects', async () => {
    const clients = await Promise.all(
      Array.from({ length: 60 }, async (_, n) => rudeClient(edge.webSocketUrl, await token(`d-${n}`), '10.2.0.1')),
    );
    expect([statusesOf(clients, 101), statusesOf(clients, 429)]).toEqual([50, 10]);
    expect(await metric(edge, limitReached('connectionsPerAddressMax'))).toBe(10);
    expect((await rudeClient(edge.webSocketUrl, await token('d-0'), '10.3.0.1')).status).toBe(101);
  });
});

it('the bytes in flight of one socket are bounded, and the readings of another are taken', async () => {
  const edge = await ingest(await freshVhost(), {
    PAYLOAD_BYTES_MAX: '32768',
    SOCKET_BYTES_IN_FLIGHT_MAX: '32768',
    BUFFER_BYTES_MAX: '1048576',
    CONFIRM_TIMEOUT_MS: '60000',
  });
  const [greedy, quiet] = await Promise.all(
    ['greedy', 'quiet'].map(async (id) => connect(`${edge.webSocketUrl}?epoch=e`, { token: await token(id) })),
  );
  edge.proxy.stall();
  const text = 'x'.repeat(1_000);
  for (let seq = 1; seq <= 100; seq += 1) greedy!.send({ type: 'telemetry', seq, ts: Date.now(), metrics: { text } });
  expect(await greedy!.next('nack')).toMatchObject({
    code: 'in-flight-limit',
    message: 'more than 32768 bytes of this socket are in flight (socketBytesInFlightMax)',
    retryable: true,
  });
  quiet!.send(telemetry(1));
  edge.proxy.resume();
  expect(await quiet!.next('ack')).toEqual({ type: 'ack', upTo: 1 });
  expect(await metric(edge, limitReached('socketBytesInFlightMax'))).toBeGreaterThan(0);
});

describe('what one subject has in flight is bounded', async () => {
  const edge = await ingest(await freshVhost(), {
    PAYLOAD_BYTES_MAX: '32768',
    SOCKET_BYTES_IN_FLIGHT_MAX: '65536',
    SUBJECT_BYTES_IN_FLIGHT_MAX: '65536',
    DEVICE_STREAMS_MAX: '5',
    HTTP_REQUESTS_IN_FLIGHT_PER_SUBJECT_MAX: '5',
    BUFFER_BYTES_MAX: '1048576',
    CONFIRM_TIMEOUT_MS: '60000',
  });
  const post = async (bearer: string, value: unknown) => {
    const response = await fetch(`${edge.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      body: JSON.stringify({ value }),
    });
    const { detail } = (await response.json()) as { detail?: string };
    return { status: response.status, retryAfter: Number(response.headers.get('retry-after')), detail };
  };

  it('in streams with readings in flight', async () => {
    const socket = await connect(`${edge.webSocketUrl}?epoch=e`, { token: await token('many-epochs') });
    // Acked ones make room.
    for (let n = 1; n <= 20; n += 1) {
      socket.send({ ...telemetry(1), epoch: `old-${n}` });
      await eventually(() => expect(socket.messages.filter(({ type }) => type === 'ack')).toHaveLength(n));
    }
    edge.proxy.stall();
    for (let n = 1; n <= 6; n += 1) socket.send({ ...telemetry(1), epoch: `new-${n}` });
    expect(await socket.closed).toEqual({
      code: 1013,
      reason: 'more than 5 streams of this subject have unacked readings (deviceStreamsMax); await acks, then go on',
    });
    expect(await metric(edge, limitReached('deviceStreamsMax'))).toBe(1);
    edge.proxy.resume();
  });

  it('in bytes over all its sockets and requests, and the readings of another are taken', async () => {
    const [greedy, quiet] = [await token('greedy', 'admin'), await token('quiet')];
    const sockets = await Promise.all(
      Array.from({ length: 5 }, async () => connect(`${edge.webSocketUrl}?epoch=e`, { token: greedy })),
    );
    const neighbour = await connect(`${edge.webSocketUrl}?epoch=e`, { token: quiet });
    edge.proxy.stall();
    const text = 'x'.repeat(1_000);
    for (const [n, socket] of sockets.entries())
      for (let seq = 1; seq <= 40; seq += 1)
        socket.send({ type: 'telemetry', deviceId: `d-${n}`, seq, ts: Date.now(), metrics: { text } });
    await eventually(() => {
      const answers = sockets.flatMap(({ messages }) => messages).filter(({ type }) => type === 'nack');
      expect(answers.length).toBeGreaterThan(100);
      for (const answer of answers)
        expect(answer).toMatchObject({
          code: 'in-flight-limit',
          message:
            'more than 65536 bytes of "greedy" are in flight, over all its sockets and requests (subjectBytesInFlightMax)',
          retryable: true,
        });
    });
    // A closed socket leaves its readings in flight: connecting again makes no new share.
    for (const { socket } of sockets) socket.terminate();
    const refused = await post(greedy, text);
    expect(refused).toMatchObject({ status: 429, detail: expect.stringContaining('(subjectBytesInFlightMax)') });
    expect(refused.retryAfter).toBeGreaterThan(0);
    expect(await metric(edge, limitReached('subjectBytesInFlightMax'))).toBeGreaterThan(100);

    neighbour.send(telemetry(1));
    edge.proxy.resume();
    expect(await neighbour.next('ack')).toEqual({ type: 'ack', upTo: 1 });
    await eventually(async () => expect((await post(greedy, 1)).status).toBe(202));
  });

  it('in HTTP requests, and those of another are taken', async () => {
    const [many, few] = [await token('many'), await token('few')];
    edge.proxy.stall();
    const answers = Array.from({ length: 8 }, async () => post(many, 1));
    await eventually(async () => expect(await metric(edge, limitReached('httpRequestsInFlightPerSubjectMax'))).toBe(3));
    const other = post(few, 1);
    edge.proxy.resume();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(5);
    expect(statuses.filter((status) => status === 429)).toHaveLength(3);
    expect((await other).status).toBe(202);
    expect((await post(many, 1)).status).toBe(202);
  });
});

it('the pending resends of one socket are bounded, over all its streams', async () => {
  const edge = await ingest(await freshVhost(), { PENDING_RESENDS_MAX: '50' });
  const gateway = await connect(edge.webSocketUrl, { token: await token('gateway', 'admin') });
  edge.proxy.refuse();
  await eventually(async () => expect((await fetch(`${edge.url}/readyz`)).status).toBe(503));
  for (let n = 0; n < 60; n += 1) gateway.send({ ...telemetry(1), deviceId: `d-${n}`, epoch: 'e' });
  expect(await gateway.closed).toEqual({
    code: 1013,
    reason: 'more than 50 nacked frames were not sent again (pendingResendsMax)',
  });
  expect(await metric(edge, limitReached('pendingResendsMax'))).toBe(1);
});

it('a burst of upgrades does not exceed the sockets of an instance', async () => {
  const edge = await ingest(await freshVhost(), { CONNECTIONS_MAX: '10', TRUST_PROXY_HOPS: '1' });
  const clients = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => rudeClient(edge.webSocketUrl, await token(`d-${n}`), `10.5.0.${n}`)),
  );
  expect(clients.filter(({ status }) => status === 101)).toHaveLength(10);
  expect(clients.filter(({ status }) => status === 503)).toHaveLength(90);
});
