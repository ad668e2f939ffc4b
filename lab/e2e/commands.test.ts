import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { createPlatform, webSocketUrlOf } from './platform.ts';

interface Frame {
  readonly type: string;
  readonly id: string;
  readonly command?: string;
  readonly args?: unknown;
  readonly attempt?: number;
  readonly code?: string;
}

/** A device's end of the socket. */
interface Device {
  readonly controls: readonly Frame[];
  readonly errors: readonly Frame[];
  send(frame: object): void;
  close(): void;
}

interface Reply {
  readonly status: number;
  readonly body: any;
}

async function startStack() {
  const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() });
  const operator = await platform.keys.token('oscar', 'operator');
  const call = async (
    api: ServiceProcess,
    path: string,
    { method = 'GET', body = {}, prefer = '' } = {},
  ): Promise<Reply> => {
    const response = await fetch(`${api.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json', prefer },
      ...(method === 'POST' && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };
  return {
    start: platform.start.bind(platform),
    send: (api: ServiceProcess, deviceId: string, body: object, prefer = '') =>
      call(api, `/devices/${deviceId}/commands`, { method: 'POST', body: { command: 'set', ...body }, prefer }),
    cancel: (api: ServiceProcess, id: string) => call(api, `/commands/${id}/cancel`, { method: 'POST' }),
    command: async (api: ServiceProcess, id: string): Promise<any> => (await call(api, `/commands/${id}`)).body,
    presence: async (api: ServiceProcess, deviceId: string): Promise<string | undefined> =>
      (await call(api, `/devices/${deviceId}`)).body.presence?.status,
    /** @param onControl answers a command */
    connect: async (
      edge: ServiceProcess,
      deviceId: string,
      onControl: (frame: Frame, send: Device['send']) => void = () => {},
    ): Promise<Device> => {
      const token = await platform.keys.token(deviceId, 'device');
      const socket = new WebSocket(webSocketUrlOf(edge), { headers: { authorization: `Bearer ${token}` } });
      socket.on('error', () => {});
      cleanUp(() => socket.terminate());
      const [controls, errors]: [Frame[], Frame[]] = [[], []];
      const send = (frame: object): void => socket.send(JSON.stringify(frame));
      socket.on('message', (data: Buffer) => {
        const frame = JSON.parse(data.toString()) as Frame;
        if (frame.type === 'error') errors.push(frame);
        if (frame.type !== 'control') return;
        controls.push(frame);
        onControl(frame, send);
      });
      await new Promise((resolve, reject) => socket.once('open', resolve).once('close', reject));
      // A reading, so that the registry knows the device.
      send({ type: 'telemetry', value: 21 });
      return { controls, errors, send, close: () => socket.terminate() };
    },
  };
}

const succeed = ({ id, args }: Frame, send: Device['send']): void =>
  send({ type: 'control-result', id, ok: true, result: { applied: args } });

describe('commands', async () => {
  const { start, send, cancel, command, connect, presence } = await startStack();
  const first = await Promise.all([start('query-api'), start('ingest-ws'), start('persistence-worker')]);

  it('in the mode now reach the device, whose answer is that of the call; silent, offline and unknown devices are named', async () => {
    const [api, edge] = first;
    const [press, silent, gone] = [
      await connect(edge, 'press-7', succeed),
      await connect(edge, 'silent'),
      await connect(edge, 'gone'),
    ];
    gone.close();
    await eventually(async () => {
      for (const deviceId of ['press-7', 'silent']) expect(await presence(api, deviceId)).toBe('online');
      expect(await presence(api, 'gone')).toBe('offline');
    });

    const done = await send(api, 'press-7', { args: { min: 22 } }, 'wait=20');
    expect([done.status, done.body.state, done.body.result]).toEqual([200, 'succeeded', { applied: { min: 22 } }]);
    expect(press.controls).toMatchObject([{ id: done.body.id, command: 'set', args: { min: 22 }, attempt: 1 }]);
    const { state, result, attempts } = done.body;
    const isStored = async (): Promise<void> =>
      expect(await command(api, done.body.id)).toMatchObject({
        state,
        result,
        attempts,
        error: null,
        lateResult: null,
      });
    await eventually(isStored);

    // A second result, and a result for the command of another device.
    press.send({ type: 'control-result', id: done.body.id, ok: false, error: { code: 'busy' } });
    const pending = await send(api, 'silent', { timeoutMs: 3_000 });
    await eventually(() => expect(silent.controls).toHaveLength(1));
    press.send({ type: 'control-result', id: pending.body.id, ok: true, result: 'stolen' });
    await eventually(() => expect(press.errors).toMatchObject([{ id: pending.body.id, code: 'no-such-command' }]));
    await eventually(async () => expect((await command(api, pending.body.id)).state).toBe('timed-out'));
    silent.send({ type: 'control-result', id: pending.body.id, ok: true, result: 'late' });
    await eventually(async () =>
      expect(await command(api, pending.body.id)).toMatchObject({
        state: 'timed-out',
        result: null,
        lateResult: { ok: true, result: 'late' },
      }),
    );
    await isStored();

    const cancelled = await send(api, 'silent', {});
    await eventually(async () => expect((await command(api, cancelled.body.id)).state).toBe('sent'));
    expect((await cancel(api, cancelled.body.id)).body.state).toBe('cancelled');
    const offline = await send(api, 'gone', {});
    expect([offline.status, offline.body.code, offline.body.lastSeenAt]).toEqual([
      409,
      'device-offline',
      expect.any(String),
    ]);
    expect((await send(api, 'never-heard-of', {})).status).toBe(404);
  });

  it('in the mode when-online outlive kills of every service, and are sent again with the same id until the device has them', async () => {
    const killed = first;
    const before = await connect(killed[1], 'press-8');
    await eventually(async () => expect(await presence(killed[0], 'press-8')).toBe('online'));
    before.close();
    await eventually(async () => expect(await presence(killed[0], 'press-8')).toBe('offline'));
    const whenOnline = { mode: 'when-online', timeoutMs: 2_000, args: 1 };
    const [kept, unwanted] = [
      await send(killed[0], 'press-8', whenOnline),
      await send(killed[0], 'press-8', whenOnline),
    ];
    expect([kept.status, unwanted.status]).toEqual([202, 202]);
    await Promise.all(killed.map((service) => service.kill()));

    const [api, edge] = await Promise.all([start('query-api'), start('ingest-ws'), start('persistence-worker')]);
    const { id } = kept.body;
    const attemptsOf = ({ controls }: Device) => controls.map(({ attempt = 0 }) => attempt);
    expect((await cancel(api, unwanted.body.id)).body.state).toBe('cancelled');
    expect(await command(api, id)).toMatchObject({ state: 'queued', attempts: 0 });
    const second = await connect(edge, 'press-8');
    await eventually(() => expect(second.controls[0]).toMatchObject({ id, args: 1, attempt: 1 }));
    // The edge is killed before the device has said that it has the command.
    await edge.kill();
    const other = await start('ingest-ws');
    const third = await connect(other, 'press-8');
    // An attempt may have been sent while no edge had the device; one that a killed edge had in hand is sent again as it was.
    await eventually(() => expect(third.controls[0]).toMatchObject({ id, args: 1 }));
    expect(attemptsOf(third)[0]).toBeGreaterThanOrEqual(attemptsOf(second).at(-1)!);
    third.close();
    const fourth = await connect(other, 'press-8', succeed);
    await eventually(() => expect(fourth.controls[0]).toMatchObject({ id, args: 1 }));
    expect(attemptsOf(fourth)[0]).toBeGreaterThanOrEqual(attemptsOf(third).at(-1)!);
    await eventually(async () =>
      expect(await command(api, id)).toMatchObject({ state: 'succeeded', result: { applied: 1 } }),
    );
    expect((await command(api, id)).attempts).toBeGreaterThanOrEqual(attemptsOf(fourth)[0]!);
    for (const { controls } of [second, third, fourth])
      expect(new Set(controls.map((one) => one.id))).toEqual(new Set([id]));
  });
});
