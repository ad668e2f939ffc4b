import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { beforeAll, describe, expect, it } from 'vitest';
import { type RunningIngest, connect, ingest, telemetry, token } from './harness.ts';

interface LiveMessage {
  type: string;
  id?: string;
  code?: string;
  message?: string;
  reason?: string;
  conflated?: number;
  readings?: { deviceId: string; seq: number; metrics: Record<string, unknown> }[];
}

async function watch(url: string, subject = 'ada', role = 'analyst') {
  const socket = await connect(url, { token: await token(subject, role) });
  const messages = socket.messages as unknown as LiveMessage[];
  const find = (type: string, id?: string) =>
    messages.filter((one) => one.type === type && (id === undefined || one.id === id));
  return {
    ...socket,
    messages,
    all: find,
    first: (type: string, id?: string) =>
      eventually(() => {
        const [found] = find(type, id);
        if (found === undefined) throw new Error(`no ${type} among ${JSON.stringify(messages)}`);
        return found;
      }),
    readings: (id?: string) => find('data_update', id).flatMap(({ readings = [] }) => readings),
  };
}

/** Sends until the watcher sees one: its interest has reached the edge. */
async function warmUp(device: Awaited<ReturnType<typeof connect>>, seen: () => unknown[]): Promise<number> {
  let seq = 0;
  await eventually(() => {
    if (seen().length === 0) device.send(telemetry((seq += 1)));
    expect(seen().length).toBeGreaterThan(0);
  });
  return seq;
}

describe('subscriptions on /ws', () => {
  let one: RunningIngest;
  let other: RunningIngest;

  beforeAll(async () => {
    const amqpUrl = await freshVhost();
    one = await ingest(amqpUrl, {
      SUBSCRIPTIONS_PER_SOCKET_MAX: '3',
      INTEREST_REFRESH_MS: '300',
      INTEREST_TTL_MS: '900',
    });
    other = await ingest(amqpUrl, { INTEREST_REFRESH_MS: '300', INTEREST_TTL_MS: '900' });
  });

  it('deliver a device’s readings to a watcher on the same and on another instance, each once and in order', async () => {
    const here = await watch(one.webSocketUrl);
    const there = await watch(other.webSocketUrl, 'bob');
    here.send({ type: 'subscribe', id: 's', devices: ['live-1'] });
    there.send({ type: 'subscribe', id: 's', pattern: 'live-?' });
    expect(await here.first('subscribed')).toMatchObject({ id: 's', mode: 'latest', devices: 1, history: 'none' });
    await there.first('subscribed');
    const device = await connect(one.webSocketUrl, { token: await token('live-1') });
    const from = await warmUp(device, () => here.readings());
    await eventually(() => expect(there.messages.length).toBeGreaterThan(1));
    for (let seq = from + 1; seq <= from + 50; seq += 1) device.send(telemetry(seq));
    for (const watcher of [here, there])
      await eventually(() =>
        expect(
          watcher
            .readings()
            .slice(-50)
            .map(({ seq }) => seq),
        ).toEqual(Array.from({ length: 50 }, (_, i) => from + 1 + i)),
      );
  });

  it('end with unsubscribe, after which nothing is sent', async () => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 'a', devices: ['live-2'] });
    const device = await connect(other.webSocketUrl, { token: await token('live-2') });
    const seq = await warmUp(device, () => watcher.readings('a'));
    watcher.send({ type: 'unsubscribe', id: 'a' });
    expect(await watcher.first('unsubscribed')).toMatchObject({ id: 'a', reason: 'requested' });
    const before = watcher.readings('a').length;
    device.send(telemetry(seq + 1));
    await eventually(() => expect(device.messages.some((m) => m.type === 'ack' && m.upTo === seq + 1)).toBe(true));
    await sleep(100);
    expect(watcher.readings('a')).toHaveLength(before);
  });

  it('send only the metrics that were chosen, and no reading without one of them', async () => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 'm', devices: ['live-3'], metrics: ['speed'] });
    const device = await connect(one.webSocketUrl, { token: await token('live-3') });
    let seq = 0;
    await eventually(() => {
      device.send({ type: 'telemetry', seq: (seq += 1), ts: Date.now(), metrics: { temperature: 1 } });
      device.send({ type: 'telemetry', seq: (seq += 1), ts: Date.now(), metrics: { temperature: 1, speed: seq } });
      expect(watcher.readings().length).toBeGreaterThan(2);
    });
    expect(watcher.readings().every(({ metrics }) => Object.keys(metrics).join() === 'speed')).toBe(true);
  });

  it('with maxRateHz send the newest values, and how many readings were merged into them', async () => {
    const watcher = await watch(other.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 'r', devices: ['live-4'], maxRateHz: 2 });
    const device = await connect(one.webSocketUrl, { token: await token('live-4') });
    const from = await warmUp(device, () => watcher.readings());
    const startedAt = performance.now();
    for (let seq = from + 1; seq <= from + 40; seq += 1) device.send(telemetry(seq));
    await eventually(() => expect(watcher.readings().at(-1)?.seq).toBe(from + 40));
    const updates = watcher.all('data_update').filter(({ readings }) => readings!.some(({ seq }) => seq > from));
    expect(updates.length).toBeLessThanOrEqual((performance.now() - startedAt) / 500 + 1);
    // Each of them was sent, or merged into a later one.
    expect(updates.reduce((sum, { conflated = 0 }) => sum + conflated, updates.length)).toBeGreaterThanOrEqual(40);
  });

  it.each([
    [{ id: 'x' }, 'missing-field'],
    [{ id: 'x', devices: [] }, 'limit-exceeded'],
    [{ id: 'x', devices: Array.from({ length: 1_001 }, (_, i) => `d${i}`) }, 'limit-exceeded'],
    [{ id: 'x', pattern: '*a*b*c*d*' }, 'invalid-pattern'],
    [{ id: 'x', pattern: Array.from({ length: 10_000 }, (_, i) => `press-${i}-*`) }, 'limit-exceeded'],
    [{ id: 'x', pattern: 'a b' }, 'invalid-pattern'],
    [{ id: 'x', tag: 'a tag' }, 'wrong-type'],
    [{ id: 'x', deviceType: 'press' }, 'registry-unavailable'],
    [{ id: 'x', pattern: '*', colour: 'red' }, 'unknown-member'],
    [{ id: 'x', pattern: '*', since: 'now-1h', events: ['presence'] }, 'wrong-type'],
    [{ id: 'x', pattern: '*', events: ['weather'] }, 'unknown-type'],
    [{ id: 'x', pattern: '*', since: 'yesterday' }, 'wrong-type'],
    [{ id: 'x', pattern: '*', since: 'now-1h', maxRateHz: 1 }, 'wrong-type'],
    [{ id: 'x', pattern: '*', cursor: 'made.up' }, 'cursor-invalid'],
    [{ id: 'x', pattern: '*', maxRateHz: 1_000 }, 'limit-exceeded'],
  ])('refuse %o with %s, and the socket stays open', async (request, code) => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', ...request });
    expect(await watcher.first('error')).toMatchObject({ id: 'x', code, retryable: false });
    watcher.send({ type: 'ping' });
    await watcher.first('pong');
  });

  it('with a pattern that matches nothing are accepted and get nothing, and disturb no other', async () => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 'none', pattern: 'no-such-device-*' });
    watcher.send({ type: 'subscribe', id: 'neither', devices: ['live-9'], pattern: 'press-*' });
    watcher.send({ type: 'subscribe', id: 'some', pattern: 'live-9' });
    expect(await watcher.first('subscribed', 'none')).toMatchObject({ devices: null });
    const device = await connect(other.webSocketUrl, { token: await token('live-9') });
    await warmUp(device, () => watcher.readings('some'));
    expect([watcher.readings('none'), watcher.readings('neither')]).toEqual([[], []]);
  });

  it('end with the token of their subscriber: 4401, and edges publish for them no longer', async () => {
    const watched = async (): Promise<number> =>
      Number(/^fleetwire_live_interest_instances (\d+)/m.exec(await (await fetch(`${other.url}/metrics`)).text())?.[1]);
    await eventually(async () => expect(await watched()).toBe(0));
    const socket = await connect(one.webSocketUrl, { token: await token('brief', 'analyst', 3) });
    socket.send({ type: 'subscribe', id: 's', pattern: '*' });
    await eventually(async () => expect(await watched()).toBe(1));
    expect(await socket.closed).toEqual({ code: 4401, reason: 'the token has expired' });
    await eventually(async () => expect(await watched()).toBe(0));
  });

  it('are bounded for each socket, have unique ids, and end only if they exist', async () => {
    const watcher = await watch(one.webSocketUrl);
    for (const id of ['a', 'b', 'c', 'd']) watcher.send({ type: 'subscribe', id, devices: [`limit-${id}`] });
    expect(await watcher.first('error', 'd')).toMatchObject({
      code: 'too-many-subscriptions',
      message: expect.stringContaining('SUBSCRIPTIONS_PER_SOCKET_MAX'),
    });
    watcher.send({ type: 'unsubscribe', id: 'c' });
    watcher.send({ type: 'subscribe', id: 'a', devices: ['limit-a'] });
    expect(await watcher.first('error', 'a')).toMatchObject({ code: 'duplicate-subscription' });
    watcher.send({ type: 'unsubscribe', id: 'never' });
    expect(await watcher.first('error', 'never')).toMatchObject({ code: 'no-such-subscription' });
  });

  it('of a device are for itself only, and "*" means itself', async () => {
    const device = await watch(one.webSocketUrl, 'live-5', 'device');
    device.send({ type: 'subscribe', id: 'theirs', devices: ['live-6'] });
    expect(await device.first('error', 'theirs')).toMatchObject({ code: 'forbidden' });
    device.send({ type: 'subscribe', id: 'all', pattern: 'live-*' });
    expect(await device.first('error', 'all')).toMatchObject({ code: 'forbidden' });
    device.send({ type: 'subscribe', id: 'own', pattern: '*' });
    expect(await device.first('subscribed', 'own')).toMatchObject({ devices: 1 });
    const stranger = await connect(one.webSocketUrl, { token: await token('live-6') });
    let seq = 0;
    await eventually(() => {
      stranger.send(telemetry((seq += 1)));
      device.send(telemetry(seq));
      expect(device.readings('own').length).toBeGreaterThan(2);
    });
    expect(new Set(device.readings('own').map(({ deviceId }) => deviceId))).toEqual(new Set(['live-5']));
  });

  it('let an analyst watch, but not publish', async () => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send(telemetry(1));
    await eventually(() => expect(watcher.all('nack')[0]).toMatchObject({ code: 'forbidden', retryable: false }));
  });

  it('go on with a new token of the same subject, and refuse one of another', async () => {
    const watcher = await watch(one.webSocketUrl, 'eve');
    watcher.send({ type: 'authenticate', token: await token('eve', 'analyst', 7_200) });
    expect(await watcher.first('authenticated')).toMatchObject({ expiresAt: expect.stringMatching(/Z$/) });
    watcher.send({ type: 'authenticate', token: await token('eve', 'admin') });
    expect(await watcher.first('error')).toMatchObject({ code: 'forbidden' });
  });

  it('without a history say so, and deliver live readings all the same', async () => {
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 'h', devices: ['live-7'], since: 'now-5m' });
    expect(await watcher.first('subscribed', 'h')).toMatchObject({ mode: 'complete', history: 'coming' });
    expect(await watcher.first('pending', 'h')).toMatchObject({ reason: 'history-unavailable' });
    const device = await connect(other.webSocketUrl, { token: await token('live-7') });
    await warmUp(device, () => watcher.readings('h'));
  });

  it('end on the edges when the watcher goes', async () => {
    const watched = async (): Promise<number> =>
      Number(/^fleetwire_live_interest_instances (\d+)/m.exec(await (await fetch(`${other.url}/metrics`)).text())?.[1]);
    await eventually(async () => expect(await watched()).toBe(0));
    const watcher = await watch(one.webSocketUrl);
    watcher.send({ type: 'subscribe', id: 's', devices: ['live-8'] });
    await eventually(async () => expect(await watched()).toBe(1));
    watcher.socket.terminate();
    await eventually(async () => expect(await watched()).toBe(0));
  });
});

it('a new instance asks what is watched, instead of waiting until it is told again', async () => {
  const amqpUrl = await freshVhost();
  const rarely = { INTEREST_REFRESH_MS: '60000', INTEREST_TTL_MS: '120000' };
  const first = await ingest(amqpUrl, rarely);
  const watcher = await watch(first.webSocketUrl);
  watcher.send({ type: 'subscribe', id: 's', devices: ['late-1'] });
  await watcher.first('subscribed');
  await eventually(async () =>
    expect(await (await fetch(`${first.url}/metrics`)).text()).toContain('fleetwire_live_interest_instances 1'),
  );
  const second = await ingest(amqpUrl, rarely);
  const device = await connect(second.webSocketUrl, { token: await token('late-1') });
  await warmUp(device, () => watcher.readings());
});

describe('a subscriber that does not read', () => {
  it('gets the newest values once it reads again, and is closed with 1013 when it stays slow', async () => {
    const amqpUrl = await freshVhost();
    const edge = await ingest(amqpUrl, {
      WATCHER_BYTES_MAX: '65536',
      WATCHER_SLOW_MS_MAX: '1500',
      OUTBOUND_BYTES_MAX: '1048576',
    });
    const stalled = await watch(edge.webSocketUrl);
    const healthy = await watch(edge.webSocketUrl, 'bob');
    for (const watcher of [stalled, healthy]) {
      watcher.send({ type: 'subscribe', id: 's', pattern: '*' });
      await watcher.first('subscribed');
    }
    const device = await connect(edge.webSocketUrl, { token: await token('noisy') });
    let seq = await warmUp(device, () => stalled.readings());
    stalled.socket.pause();
    const closed = async (): Promise<number> =>
      Number(/^fleetwire_live_slow_watchers_total (\d+)/m.exec(await (await fetch(`${edge.url}/metrics`)).text())?.[1]);
    await eventually(async () => {
      for (let i = 0; i < 10; i += 1) {
        const readings = Array.from({ length: 50 }, () => ({ ts: Date.now(), metrics: { text: 'x'.repeat(1_000) } }));
        device.send({ type: 'telemetry', seq: seq + 1, readings });
        seq += 50;
      }
      await eventually(() => expect(device.messages.some((m) => m.type === 'ack' && m.upTo === seq)).toBe(true));
      expect(await closed()).toBe(1);
    });
    expect(healthy.socket.readyState).toBe(healthy.socket.OPEN);
    await eventually(() => expect(healthy.readings().at(-1)?.seq).toBe(seq));
    stalled.socket.resume();
    expect((await stalled.closed).code).toBe(1013);
  });
});
