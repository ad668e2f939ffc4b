import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { type RunningIngest, connect, ingest, queued, telemetry, token } from './harness.ts';

interface Message {
  type: string;
  device_id?: string;
  command?: string;
  args?: unknown;
  value?: unknown;
  source?: string;
  code?: string;
  retryable?: boolean;
  data_snapshot?: Record<string, unknown>;
  data_snapshot_pending?: boolean;
}

const utc = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00`;

/** A client that names no subprotocol: its messages, and their texts. */
async function plain(url: string, options: { token?: string; protocols?: string[] } = {}) {
  const texts: string[] = [];
  const { socket, messages: received, ...client } = await connect(url, { protocols: [], ...options });
  socket.on('message', (data: Buffer) => texts.push(data.toString('utf8')));
  const messages = received as unknown as Message[];
  const all = (type: string) => messages.filter((one) => one.type === type);
  return {
    ...client,
    socket,
    messages,
    texts,
    all,
    nth: (type: string, number = 1) =>
      eventually(() => {
        const found = all(type)[number - 1];
        if (found === undefined) throw new Error(`no ${type} ${number} among ${JSON.stringify(messages)}`);
        return found;
      }),
  };
}

async function post(one: RunningIngest, body: unknown, bearer: string, path = '/api/data') {
  const response = await fetch(`${one.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

const amqpUrl = await freshVhost();
const one = await ingest(amqpUrl);
const other = await ingest(amqpUrl);
const readings = await queued(amqpUrl);

describe('a socket without a subprotocol', () => {
  it('gets a hello, then the broadcast of each reading that it sends, from the first one on', async () => {
    const open = await ingest(await freshVhost(), { AUTH_MODE: 'open' });
    const device = await plain(open.webSocketUrl);
    const hello = await device.nth('hello');
    expect(hello).toMatchObject({ message: 'connected', data_snapshot: {}, deviceId: 'anonymous' });
    expect(Object.keys(hello).slice(0, 4)).toEqual(['type', 'message', 'timestamp_utc', 'data_snapshot']);
    for (let round = 1; round <= 3; round += 1) {
      // As device_one.py writes it.
      device.send(`{"type": "telemetry", "device_id": "device_one", "value": 2${round}.5}`);
      await eventually(() => expect(device.messages).toHaveLength(1 + round));
      expect(device.texts.at(-1)).toMatch(
        new RegExp(
          `^{"type":"data_update","device_id":"device_one","value":2${round}\\.5,"timestamp_utc":"${utc}","source":"websocket"}$`,
        ),
      );
    }
  });

  it('gets what is sent to any instance, over HTTP as "rest", and a device only its own', async () => {
    const dashboard = await plain(other.webSocketUrl, { token: await token('dashboard', 'analyst') });
    const own = await plain(other.webSocketUrl, { token: await token('plain-b') });
    await dashboard.nth('hello');
    const answer = await post(
      one,
      { device_id: 'plain-a', value: { rpm: 1200, mode: 'auto' } },
      await token('plain-a'),
    );
    expect(answer.status).toBe(200);
    const event = `{"type":"data_update","device_id":"plain-a","value":{"rpm":1200,"mode":"auto"},"timestamp_utc":"${utc}","source":"rest"}`;
    expect(answer.text).toMatch(new RegExp(`^{"ok":true,"stored":true,"event":${event}}$`));
    // An edge elsewhere hears of the interest in its own time.
    await eventually(async () => {
      await post(one, { device_id: 'plain-a', value: { rpm: 1200, mode: 'auto' } }, await token('plain-a'));
      expect(dashboard.texts.at(-1)).toMatch(new RegExp(`^${event}$`));
    });
    expect(readings).toContainEqual(
      expect.objectContaining({ deviceId: 'plain-a', metrics: { rpm: 1200, mode: 'auto' } }),
    );
    own.send({ type: 'telemetry', value: true });
    expect(await own.nth('data_update')).toMatchObject({ device_id: 'plain-b', value: true, source: 'websocket' });
    expect(own.all('data_update')).toHaveLength(1);
  });

  it('has readings with a seq acknowledged, and those without one only broadcast', async () => {
    const device = await plain(one.webSocketUrl, { token: await token('plain-seq') });
    device.send({ type: 'telemetry', value: 1 });
    await device.nth('data_update');
    device.send(telemetry(1));
    expect(await device.nth('ack')).toEqual({ type: 'ack', upTo: 1 });
    device.send({ type: 'unknown', seq: 2, value: 1 });
    expect(await device.nth('nack')).toMatchObject({ seq: 2, code: 'unknown-type' });
    await device.nth('data_update', 2);
    device.send({ type: 'telemetry', value: 3 });
    await device.nth('data_update', 3);
    expect(device.all('ack').every((ack) => Object.keys(ack).join() === 'type,upTo')).toBe(true);
  });

  it('is answered: pong, echo, and an error for a message that is refused', async () => {
    const client = await plain(one.webSocketUrl, { token: await token('operator', 'admin') });
    client.send('{ "type": "ping" }');
    await client.nth('pong');
    expect(client.texts.at(-1)).toMatch(new RegExp(`^{"type":"pong","timestamp_utc":"${utc}","ts":\\d+}$`));
    client.send('{"type":"hello?","a":[1]}');
    await client.nth('echo');
    expect(client.texts.at(-1)).toMatch(
      new RegExp(
        `^{"type":"echo","timestamp_utc":"${utc}","received":{"type":"hello\\?","a":\\[1\\]},"note":"Unrecognized message type"}$`,
      ),
    );
    client.send('{"type":"telemetry","value":21.5}');
    await client.nth('error');
    expect(client.texts.at(-1)).toBe(
      '{"type":"error","code":"missing-field","message":"device_id is missing","retryable":false}',
    );
    client.send('{"type":"telemetry","device_id":"d","value":null}');
    expect(await client.nth('error', 2)).toMatchObject({ code: 'wrong-type', retryable: false });
    client.send('{"type":"telemetry","device_id":"d","value":[1,2]}');
    expect(await client.nth('error', 3)).toMatchObject({ code: 'wrong-type' });
  });

  it('gets at most ten echoes in a second, then errors', async () => {
    const client = await plain(one.webSocketUrl, { token: await token('loud', 'admin') });
    for (let n = 0; n < 40; n += 1) client.send({ type: 'noise', n });
    await eventually(() => expect(client.all('echo').length + client.all('error').length).toBe(40));
    expect(client.all('error').length).toBeGreaterThan(0);
    expect(client.all('error')[0]).toMatchObject({
      code: 'limit-exceeded',
      message: expect.stringContaining('plainEchoesPerSecondMax'),
    });
    expect(client.all('echo').length).toBeGreaterThanOrEqual(10);
    expect(client.socket.readyState).toBe(client.socket.OPEN);
  });

  it('gets the newest values of a device that is faster than 20 updates in a second, and never a gap', async () => {
    const dashboard = await plain(one.webSocketUrl, { token: await token('watching', 'analyst') });
    const device = await connect(one.webSocketUrl, { token: await token('plain-fast') });
    const sent = 100;
    const startedAt = performance.now();
    // Each in an envelope and a live message of its own.
    for (let seq = 1; seq <= sent; seq += 1) {
      device.send(telemetry(seq));
      await device.next('ack');
    }
    const own = () => dashboard.messages.filter(({ device_id }) => device_id === 'plain-fast');
    await eventually(() => expect(own().at(-1)?.value).toEqual({ temperature: sent }));
    expect(own().length).toBeLessThanOrEqual((performance.now() - startedAt) / 50 + 2);
    expect(new Set(dashboard.messages.map(({ type }) => type))).toEqual(new Set(['hello', 'data_update']));
  });

  it('may send its token as the only subprotocol, and not in the address', async () => {
    const offered = `fleetwire.token.${await token('plain-page', 'analyst')}`;
    const page = await plain(one.webSocketUrl, { protocols: [offered] });
    expect(await page.nth('hello')).toMatchObject({ message: 'connected', deviceId: 'plain-page' });
    const address = `${one.webSocketUrl}?token=${await token('plain-page', 'analyst')}`;
    await expect(connect(address, { protocols: [] })).rejects.toThrow('401');
  });

  it('is told that a reading without a seq was not taken while the broker is away', async () => {
    const cut = await ingest(await freshVhost());
    const device = await plain(cut.webSocketUrl, { token: await token('plain-cut') });
    await device.nth('hello');
    cut.proxy.cut();
    await eventually(() => {
      device.send({ type: 'telemetry', value: 1 });
      expect(device.all('error')[0]).toMatchObject({ code: 'broker-unavailable', retryable: true });
    });
    expect(device.all('nack')).toEqual([]);
  });
});

describe('POST /api/data', () => {
  it.each([
    ['null', { device_id: 'plain-x', value: null }, 422],
    ['an array', { device_id: 'plain-x', value: [1] }, 422],
    ['no value', { device_id: 'plain-x' }, 422],
    ['several readings', [{ device_id: 'plain-x', value: 1 }], 422],
    ['another device', { device_id: 'plain-y', value: 1 }, 403],
  ])('refuses %s', async (_what, body, status) => {
    const answer = await post(one, body, await token('plain-x'));
    expect({ status: answer.status, text: answer.text }).toMatchObject({ status });
    expect(JSON.parse(answer.text)).toMatchObject({ status, accepted: 0 });
  });

  it('means the device of the token where it names none, and names what is missing to others', async () => {
    expect((await post(one, { value: 1 }, await token('plain-x'))).status).toBe(200);
    const answer = await post(one, { value: 1 }, await token('gateway', 'admin'));
    expect(answer.status).toBe(422);
    expect(answer.text).toContain('device_id is missing');
  });
});

describe('control', () => {
  it('is told to the plain sockets of all instances that may see the target, once query-api has the command, and is refused for others than operators', async () => {
    let answer: [status: number, body: object] = [202, { id: 'c-1', state: 'sent' }];
    const asked: string[] = [];
    const queryApi = createServer((request, response) => {
      const [status, body] = request.method === 'POST' ? answer : [200, { data: {} }];
      text(request).then(
        (sent) => {
          if (request.method === 'POST') asked.push(`${request.url} ${sent}`);
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        },
        () => response.destroy(),
      );
    });
    queryApi.listen(0, '127.0.0.1');
    await once(queryApi, 'listening');
    cleanUp(() => void queryApi.close());
    const env = { QUERY_API_URL: `http://127.0.0.1:${(queryApi.address() as AddressInfo).port}` };
    const vhost = await freshVhost();
    const [here, there] = await Promise.all([ingest(vhost, env), ingest(vhost, env)]);
    const dashboard = await plain(here.webSocketUrl, { token: await token('board', 'operator') });
    const target = await plain(there.webSocketUrl, { token: await token('device_one') });
    const foreign = await plain(there.webSocketUrl, { token: await token('device_two') });
    const control = '{"type":"control","target":"device_one","command":"set_threshold","args":{"min":22,"max":28}}';
    // As dashboard.html writes it; the queue of an instance may be bound after it is ready.
    await eventually(async () => {
      dashboard.send(control);
      await dashboard.nth('control');
      expect(target.all('control').length).toBeGreaterThan(0);
    });
    expect(asked[0]).toBe('/api/v1/devices/device_one/commands {"command":"set_threshold","args":{"min":22,"max":28}}');
    for (const client of [dashboard, target])
      expect(client.texts.find((one) => one.includes('"control"'))).toMatch(
        new RegExp(
          `^{"type":"control","target":"device_one","command":"set_threshold","args":{"min":22,"max":28},"timestamp_utc":"${utc}","source":"websocket"}$`,
        ),
      );
    expect(foreign.all('control')).toEqual([]);
    expect(dashboard.all('control-accepted')).toEqual([]);

    const told = dashboard.all('control').length;
    answer = [409, { status: 409, title: 'Device offline', detail: 'no session', code: 'device-offline' }];
    dashboard.send('{"type":"control","target":"device_one","command":"stop"}');
    expect(await dashboard.nth('error')).toMatchObject({ code: 'device-offline' });
    expect(await dashboard.nth('control', told + 1)).toMatchObject({ command: 'stop', args: {} });
    answer = [422, { status: 422, title: 'Refused', detail: 'too long' }];
    dashboard.send('{"type":"control","target":"device_one","command":"stop"}');
    expect(await dashboard.nth('error', 2)).toMatchObject({ code: 'command-refused' });
    target.send(control);
    expect(await target.nth('error')).toMatchObject({ code: 'forbidden' });
    expect(dashboard.all('control')).toHaveLength(told + 1);
  });
});

describe('the snapshot in a hello', () => {
  it('is read with the token of the client; while it cannot be read the socket is open, and it comes later in another hello, without the devices that were broadcast', async () => {
    const state = (value: number) => ({ value, updated_at_utc: '2026-11-21T16:00:00.000+00:00' });
    let isAway = true;
    const tokens = new Set<string | undefined>();
    const queryApi = createServer(({ headers }, response) => {
      tokens.add(headers.authorization);
      response.writeHead(isAway ? 503 : 200, { 'content-type': 'application/json' });
      response.end(isAway ? '{}' : JSON.stringify({ data: { seen: state(1), known: state(2) } }));
    });
    queryApi.listen(0, '127.0.0.1');
    await once(queryApi, 'listening');
    cleanUp(() => void queryApi.close());
    const edge = await ingest(await freshVhost(), {
      QUERY_API_URL: `http://127.0.0.1:${(queryApi.address() as AddressInfo).port}`,
    });
    const admin = await token('snapshots', 'admin');
    const client = await plain(edge.webSocketUrl, { token: admin });
    expect(await client.nth('hello')).toMatchObject({ data_snapshot: {}, data_snapshot_pending: true });
    client.send({ type: 'telemetry', device_id: 'seen', value: 7 });
    expect(await client.nth('data_update')).toMatchObject({ device_id: 'seen', value: 7 });
    isAway = false;
    const second = await client.nth('hello', 2);
    expect(second.data_snapshot).toEqual({ known: state(2) });
    expect(second).not.toHaveProperty('data_snapshot_pending');
    const later = await plain(edge.webSocketUrl, { token: admin });
    expect((await later.nth('hello')).data_snapshot).toEqual({ seen: state(1), known: state(2) });
    expect(tokens).toEqual(new Set([`Bearer ${admin}`]));
  });
});
