import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startDeviceClient } from '../fleet/device-client.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

interface Message {
  type: string;
  id?: string;
  commandId?: string;
  code?: string;
  message?: string;
}

const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() });
const api = await platform.start('query-api');
const env = { QUERY_API_URL: api.url, DRAIN_GRACE_MS: '0' };
const [edge, other] = await Promise.all([
  platform.start('ingest-ws', { env }),
  platform.start('ingest-ws', { env }),
  platform.start('persistence-worker'),
]);
const operatorToken = await platform.keys.token('olga', 'operator');

async function call(method: string, path: string, body?: object) {
  const response = await fetch(`${api.url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as object };
}

const command = async (id: string) => (await call('GET', `/commands/${id}`)).body;
const inState = (id: string, state: string) =>
  eventually(async () => {
    const found = await command(id);
    expect(found).toMatchObject({ state });
    return found;
  });

/** A socket that keeps its messages; a device's answers no command by itself. */
async function connect(token: string, at = edge) {
  const socket = new WebSocket(webSocketUrlOf(at), { headers: { authorization: `Bearer ${token}` } });
  cleanUp(() => socket.terminate());
  const messages: Message[] = [];
  socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8')) as Message));
  socket.on('error', () => {});
  await once(socket, 'open');
  return {
    socket,
    messages,
    send: (frame: object) => socket.send(JSON.stringify(frame)),
    first: (type: string, id: string) =>
      eventually(() => {
        const found = messages.find((one) => one.type === type && one.id === id);
        if (found === undefined) throw new Error(`no ${type} ${id} among ${JSON.stringify(messages)}`);
        return found;
      }),
  };
}

/** A device that answers commands as the reference client does; query-api knows it, and that it is online. */
async function simulated(deviceId: string, at = edge) {
  const token = await platform.keys.token(deviceId, 'device');
  const client = startDeviceClient({ url: webSocketUrlOf(at), deviceId, token });
  cleanUp(() => client.stop({ settleTimeoutMs: 0 }));
  client.send({ ts: Date.now(), metrics: { temperature: 21 } });
  await eventually(async () =>
    expect(await call('GET', `/devices/${deviceId}`)).toMatchObject({ body: { presence: { status: 'online' } } }),
  );
  return client;
}

describe('control of an operator on /ws', () => {
  it('reaches a device on another instance, and its result is stored with who sent it', async () => {
    await simulated('press-1', other);
    const operator = await connect(operatorToken);
    operator.send({ type: 'control', id: 'c1', target: 'press-1', command: 'set', args: { min: 22 } });
    const { commandId } = await operator.first('control-accepted', 'c1');
    expect(await inState(commandId!, 'succeeded')).toMatchObject({
      createdBy: 'olga',
      result: { min: 22 },
      attempts: 1,
    });
  });

  it('is one command where the frame is repeated with its id, and a conflict with another command', async () => {
    await simulated('press-2');
    const operator = await connect(operatorToken);
    const control = { type: 'control', id: 'c1', target: 'press-2', command: 'set' };
    operator.send(control);
    operator.send(control);
    const accepted = await eventually(() => {
      const found = operator.messages.filter(({ type }) => type === 'control-accepted');
      expect(found).toHaveLength(2);
      return found;
    });
    expect(new Set(accepted.map(({ commandId }) => commandId)).size).toBe(1);
    operator.send({ ...control, command: 'other' });
    expect(await operator.first('error', 'c1')).toMatchObject({ code: 'command-conflict' });
  });

  it('says that a device is unknown or offline, and names the field that query-api refuses', async () => {
    const gone = await simulated('press-3');
    await gone.stop();
    await eventually(async () =>
      expect((await call('POST', '/devices/press-3/commands', { command: 'x' })).status).toBe(409),
    );
    const operator = await connect(operatorToken);
    operator.send({ type: 'control', id: 'unknown', target: 'never-seen', command: 'set' });
    operator.send({ type: 'control', id: 'offline', target: 'press-3', command: 'set' });
    operator.send({ type: 'control', id: 'slow', target: 'press-3', command: 'set', timeoutMs: 1e9 });
    operator.send({ type: 'control', id: 'many', target: 'press-*', command: 'set' });
    expect(await operator.first('error', 'unknown')).toMatchObject({ code: 'device-unknown' });
    expect(await operator.first('error', 'offline')).toMatchObject({ code: 'device-offline' });
    expect(await operator.first('error', 'slow')).toMatchObject({
      code: 'command-refused',
      message: expect.stringContaining('timeoutMs'),
    });
    expect(await operator.first('error', 'many')).toMatchObject({
      code: 'command-refused',
      message: expect.stringContaining('confirm'),
    });
  });

  it('to a pattern is a job with a command for each device', async () => {
    const ids = ['many-1', 'many-2', 'many-3'];
    for (const [index, id] of ids.entries()) await simulated(id, index === 0 ? edge : other);
    const operator = await connect(operatorToken);
    operator.send({ type: 'control', id: 'm', target: 'many-*', command: 'set', confirm: true, ratePerSecond: 100 });
    const { commandId } = await operator.first('control-accepted', 'm');
    await eventually(async () =>
      expect(await command(commandId!)).toMatchObject({ targets: 3, states: { succeeded: 3 } }),
    );
  });
});

describe('fleetwire command', () => {
  it('sends one, prints the result, and exits with 1 when it fails', async () => {
    await simulated('press-6');
    const fleetwire = async (...args: string[]) => {
      const main = new URL('../../cli/src/main.ts', import.meta.url).pathname;
      const child = spawn(process.execPath, [main, 'command', ...args], {
        env: { FLEETWIRE_URL: api.url, FLEETWIRE_TOKEN: operatorToken },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close'),
      ]);
      return { code, stdout, stderr };
    };
    const done = await fleetwire('press-6', 'set', '--args', '{"min":1}');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toMatch(/^command \S+ to press-6: succeeded\n {2}\{"min":1\}\n$/);
    const failed = await fleetwire('press-6', 'fail');
    expect(failed).toMatchObject({ code: 1, stdout: expect.stringContaining('simulated') });
    const unknown = await fleetwire('never-seen', 'set');
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('404') });
  });
});
