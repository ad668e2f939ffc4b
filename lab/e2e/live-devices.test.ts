import { openBrokerConnection } from '@fleetwire/broker/connection';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { exchanges } from '@fleetwire/broker/topology';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { createLogger } from '@fleetwire/runtime/logger';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type Message, openEvents, startLivePlatform } from './live-platform.ts';
import { webSocketUrlOf } from './platform.ts';

const logger = await createLogger({ name: 'test', level: 'silent' });

type DeviceMessage = Message & {
  id?: string;
  code?: string;
  message?: string;
  devices?: number | null;
  deviceId?: string;
  status?: string;
  change?: string;
  version?: number;
  matches?: boolean;
  complete?: boolean;
  retryable?: boolean;
  state?: unknown;
  commandId?: string;
};

describe('subscriptions to devices by what the registry says of them', async () => {
  const amqpUrl = await freshVhost();
  const broker = await proxied(amqpUrl);
  const platform = await startLivePlatform({ FILTER_DEVICES_MAX: '3' }, { amqpUrl, edgeAmqpUrl: broker.url });
  const operator = await platform.platform.keys.token('oscar', 'operator');
  const analyst = await platform.platform.keys.token('ada', 'analyst');

  const call = async (method: string, path: string, body: object): Promise<void> => {
    const response = await fetch(`${platform.api.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${operator}`,
        'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
        'if-match': '*',
      },
      body: JSON.stringify(body),
    });
    expect([method, path, response.status, await response.text()]).toEqual([
      method,
      path,
      method === 'POST' ? 201 : 200,
      expect.any(String),
    ]);
  };
  const register = (deviceId: string, fields: object = {}) => call('POST', '/devices', { deviceId, ...fields });
  const change = (deviceId: string, fields: object) => call('PATCH', `/devices/${deviceId}`, fields);

  async function open(edge: ServiceProcess, token = analyst) {
    const socket = new WebSocket(webSocketUrlOf(edge), 'fleetwire.v1.json', {
      headers: { authorization: `Bearer ${token}` },
    });
    cleanUp(() => socket.terminate());
    const messages: DeviceMessage[] = [];
    socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8')) as DeviceMessage));
    await new Promise((resolve) => socket.once('open', resolve));
    const all = (type: string) => messages.filter((message) => message.type === type);
    return {
      messages,
      all,
      send: (message: object) => socket.send(JSON.stringify(message)),
      subscribe: (request: object) => socket.send(JSON.stringify({ type: 'subscribe', id: 's', ...request })),
      first: (type: string) =>
        eventually(() => {
          const [found] = all(type);
          if (found === undefined) throw new Error(`no ${type} among ${JSON.stringify(messages)}`);
          return found;
        }),
      devices: () => new Set(all('data_update').flatMap(({ readings = [] }) => readings.map((one) => one.deviceId))),
    };
  }

  /** Sends readings of all these devices until the condition holds. */
  async function whileSending(names: readonly string[], condition: () => void): Promise<void> {
    const devices = await Promise.all(names.map((name) => platform.device(platform.edges[0], name)));
    await eventually(
      () => {
        for (const one of devices) one.send({ ts: Date.now(), metrics: { n: 1 } });
        condition();
      },
      { intervalMs: 100 },
    );
    await Promise.all(devices.map((one) => one.stop({ settleTimeoutMs: 10_000 })));
  }

  it('select by tag on a socket: a device that gets the tag later matches from then on, one that loses it no longer', async () => {
    await register('t-1', { tags: ['site:north', 'line:1'] });
    await register('t-2', { tags: ['line:1'] });
    await register('t-3', { tags: ['site:north'], type: 'press' });
    const watcher = await open(platform.edges[1]);
    watcher.subscribe({ tag: ['site:north', 'line:1'] });
    expect(await watcher.first('subscribed')).toMatchObject({ devices: 1 });
    await whileSending(['t-1', 't-2', 't-3'], () => expect(watcher.devices()).toEqual(new Set(['t-1'])));
    // In this order: where the second change is seen, the first one is known, too.
    await change('t-1', { tags: ['line:1'] });
    await change('t-2', { tags: ['site:north', 'line:1'] });
    await whileSending(['t-2', 't-3'], () => expect(watcher.devices()).toEqual(new Set(['t-1', 't-2'])));
    const before = watcher.all('data_update').length;
    const old = await platform.device(platform.edges[0], 't-1');
    const fresh = await platform.device(platform.edges[0], 't-2');
    old.send({ ts: Date.now(), metrics: { n: 2 } });
    await old.whenSettled();
    fresh.send({ ts: Date.now(), metrics: { n: 2 } });
    await eventually(() => expect(watcher.all('data_update').length).toBeGreaterThan(before));
    const after = watcher.all('data_update').slice(before);
    expect(after.flatMap(({ readings = [] }) => readings.map((one) => one.deviceId))).not.toContain('t-1');
  });

  it('select by device type in a stream of events, history and live, and nothing at first where no device has it', async () => {
    await register('k-1', { type: 'kiln' });
    await register('k-2', { type: 'press' });
    const url = `${platform.api.url}/api/v1/live?deviceType=kiln`;
    const sender = await platform.device(platform.edges[0], 'k-1');
    sender.send({ ts: Date.now(), metrics: { n: 0 } });
    await sender.whenSettled();
    await eventually(async () => expect([...(await platform.stored())].join()).toContain('k-1 '));
    const stream = await openEvents(`${url}&since=now-15m`, analyst);
    const ids = () =>
      new Set(
        stream.events
          .flatMap(({ event, data }) => (event === 'data_update' ? data.readings! : []))
          .map(({ deviceId }) => deviceId),
      );
    await eventually(() => expect(stream.events.some(({ event }) => event === 'caught_up')).toBe(true));
    expect(ids()).toEqual(new Set(['k-1']));
    expect(stream.events.some(({ data }) => data.phase === 'history')).toBe(true);
    await change('k-2', { type: 'kiln' });
    await whileSending(['k-2'], () => expect(ids()).toEqual(new Set(['k-1', 'k-2'])));

    const empty = await open(platform.edges[0]);
    empty.subscribe({ deviceType: 'lathe', since: 'now-1m' });
    expect(await empty.first('subscribed')).toMatchObject({ devices: 0, mode: 'complete' });
    await empty.first('caught_up');
    await register('l-1', { type: 'lathe' });
    await whileSending(['l-1'], () => expect(empty.devices()).toEqual(new Set(['l-1'])));
  });

  it('hear of changes that came while the broker could not be reached, also of a device that lost the tag', async () => {
    await register('b-1', { tags: ['bay:1'] });
    await register('b-2');
    const watcher = await open(platform.edges[1]);
    watcher.subscribe({ tag: 'bay:1', events: ['readings', 'registry'] });
    await watcher.first('present');
    await whileSending(['b-1'], () => expect(watcher.devices()).toEqual(new Set(['b-1'])));
    const published: { deviceId: string }[] = [];
    const bound = Promise.withResolvers<void>();
    const connection = openBrokerConnection({ url: amqpUrl, name: 'test', logger });
    const queue = openPrivateQueue(connection, {
      logger,
      namePrefix: 'test',
      exchange: exchanges.events,
      routingKeys: ['device.updated'],
      messagesMax: 100,
      bytesMax: 1_000_000,
      onMessage: (content) => published.push(JSON.parse(content.toString('utf8')) as { deviceId: string }),
      onBound: () => bound.resolve(),
    });
    cleanUp(async () => {
      await queue.close();
      await connection.close();
    });
    await bound.promise;
    broker.proxy.refuse();
    await change('b-2', { tags: ['bay:1'] });
    await change('b-1', { tags: [] });
    // They are published, and lost to the edges.
    await eventually(() => expect(published.map(({ deviceId }) => deviceId)).toEqual(['b-2', 'b-1']));
    broker.proxy.resume();
    await eventually(() => expect(watcher.all('present').length).toBeGreaterThan(1));
    expect(watcher.all('registry').at(-1)).toMatchObject({ deviceId: 'b-2', change: 'present' });
    await whileSending(['b-2'], () => expect(watcher.devices()).toEqual(new Set(['b-1', 'b-2'])));
  });

  it('are refused where the filter selects more devices than FILTER_DEVICES_MAX', async () => {
    for (const id of ['m-1', 'm-2', 'm-3', 'm-4']) await register(id, { type: 'mixer' });
    const watcher = await open(platform.edges[0]);
    watcher.subscribe({ deviceType: 'mixer' });
    expect(await watcher.first('error')).toMatchObject({
      id: 's',
      code: 'limit-exceeded',
      message: expect.stringContaining('more than 3 devices (FILTER_DEVICES_MAX)'),
      retryable: false,
    });
    watcher.subscribe({ deviceType: 'mixer', pattern: 'm-1' });
    expect(await watcher.first('subscribed')).toMatchObject({ devices: 1 });
  });

  it('tell changes of commands: those of the devices of the filter, and a device hears of its own', async () => {
    for (const deviceId of ['c-1', 'c-2']) await register(deviceId, { tags: ['hall:9'] });
    const own = await platform.platform.keys.token('c-1', 'device');
    const [watcher, device] = [await open(platform.edges[1]), await open(platform.edges[1], own)];
    watcher.subscribe({ tag: 'hall:9', events: ['commands'] });
    device.subscribe({ pattern: '*', events: ['commands'] });
    const stream = await openEvents(`${platform.api.url}/api/v1/live?devices=c-1&events=commands`, analyst);
    for (const one of [watcher, device])
      expect(await one.first('present')).toMatchObject({ devices: 0, complete: false });
    await eventually(() => expect(stream.events.some(({ event }) => event === 'present')).toBe(true));
    const send = async (deviceId: string, mode: string) => {
      const response = await fetch(`${platform.api.url}/api/v1/devices/${deviceId}/commands`, {
        method: 'POST',
        headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' },
        body: JSON.stringify({ command: 'set', mode }),
      });
      expect(response.status).toBe(202);
      return ((await response.json()) as { id: string }).id;
    };
    // The device's socket is the one that hears of it, too.
    const first = await send('c-1', 'when-online');
    const control = await device.first('control');
    expect(control).toMatchObject({ id: first, command: 'set' });
    device.send({ type: 'control-result', id: first, ok: true });
    const second = await send('c-2', 'when-online');
    const cancelled = await fetch(`${platform.api.url}/api/v1/commands/${second}/cancel`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator}` },
    });
    expect(cancelled.status).toBe(200);
    const statesOf = (messages: readonly DeviceMessage[], id: string) =>
      new Set(messages.filter(({ commandId }) => commandId === id).map(({ state }) => state));
    await eventually(() => {
      expect(statesOf(watcher.all('command'), first)).toEqual(new Set(['queued', 'sent', 'succeeded']));
      expect(statesOf(watcher.all('command'), second)).toEqual(new Set(['queued', 'cancelled']));
      expect(statesOf(device.all('command'), first)).toEqual(new Set(['queued', 'sent', 'succeeded']));
      expect(
        new Set(
          stream.events.flatMap(({ event, data }) => (event === 'command' ? [(data as DeviceMessage).state] : [])),
        ),
      ).toEqual(new Set(['queued', 'sent', 'succeeded']));
    });
    expect(new Set(device.all('command').map(({ deviceId }) => deviceId))).toEqual(new Set(['c-1']));
    device.subscribe({ id: 'other', devices: ['c-2'], events: ['commands'] });
    expect(await device.first('error')).toMatchObject({ id: 'other', code: 'forbidden' });
  });

  it('are refused where the type of the message is taken for a filter, or a member is not known', async () => {
    const watcher = await open(platform.edges[0]);
    watcher.subscribe({ pattern: '*', colour: 'red' });
    expect(await watcher.first('error')).toMatchObject({
      id: 's',
      code: 'unknown-member',
      message: expect.stringMatching(/"colour".*deviceType/),
    });
    const byType = await fetch(`${platform.api.url}/api/v1/live`, {
      method: 'POST',
      headers: { authorization: `Bearer ${analyst}`, 'content-type': 'application/json' },
      body: JSON.stringify({ type: 'press' }),
    });
    expect([byType.status, await byType.text()]).toEqual([400, expect.stringContaining('deviceType')]);
  });

  it('tell presence and changes of the registry: first what is, then what changes, also that a device no longer matches', async () => {
    await register('e-1', { tags: ['hall:2'] });
    await register('e-2', { tags: ['hall:3'] });
    const sender = await platform.device(platform.edges[0], 'e-1');
    sender.send({ ts: Date.now(), metrics: { n: 0 } });
    await sender.whenSettled();
    await eventually(async () => {
      const response = await fetch(`${platform.api.url}/api/v1/devices/e-1`, {
        headers: { authorization: `Bearer ${analyst}` },
      });
      expect(await response.json()).toMatchObject({ presence: { status: 'online' } });
    });
    const watcher = await open(platform.edges[1]);
    watcher.subscribe({ tag: 'hall:2', events: ['presence', 'registry'] });
    expect(await watcher.first('subscribed')).toMatchObject({ devices: 1, history: 'none' });
    expect(await watcher.first('presence')).toMatchObject({ id: 's', deviceId: 'e-1', status: 'online' });
    expect(await watcher.first('registry')).toMatchObject({
      deviceId: 'e-1',
      change: 'present',
      matches: true,
      state: { tags: ['hall:2'] },
    });
    expect(await watcher.first('present')).toMatchObject({ devices: 1, complete: true });
    await sender.stop({ settleTimeoutMs: 5_000 });
    await eventually(() =>
      expect(watcher.all('presence').at(-1)).toMatchObject({ deviceId: 'e-1', status: 'offline' }),
    );
    await change('e-2', { tags: ['hall:2', 'hall:3'] });
    await change('e-1', { tags: [] });
    await eventually(() =>
      // The registration itself may be published after the present state was read.
      expect(watcher.all('registry').filter(({ version }) => version === 2)).toMatchObject([
        { deviceId: 'e-2', change: 'device.updated', matches: true },
        { deviceId: 'e-1', change: 'device.updated', matches: false, state: { tags: [] } },
      ]),
    );
    expect(watcher.all('data_update')).toEqual([]);
  });
});
