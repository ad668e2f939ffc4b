import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { describe, expect, it } from 'vitest';
import { webSocketUrlOf } from './platform.ts';
import { StoredDevice } from './stored-device.ts';
import { lastOf, startStoredStack } from './stored-stack.ts';

const day = 86_400_000;

describe('a device that asks for acks=stored', async () => {
  const amqpUrl = await freshVhost();
  const stack = await startStoredStack({ amqpUrl, databaseUrl: await freshDatabase() });
  const { proxy, url } = await proxied(amqpUrl);
  const edge = await stack.edge({ AMQP_URL: url });

  it('hears the ack before the commit, stored after it, and each dead letter with its id, before stored covers it', async () => {
    const device = await stack.device('asking', [webSocketUrlOf(edge)]);
    await eventually(() => expect(device.messages[0]).toMatchObject({ type: 'hello', acks: 'stored' }));
    const release = await stack.blockReadings();
    device.send(1);
    device.send(2, Date.now() - 40 * day);
    device.send(3);
    await eventually(() => expect(lastOf(device.messages, 'ack')).toBe(3));
    await sleep(100);
    expect(lastOf(device.messages, 'stored')).toBeUndefined();
    await release();
    await eventually(() => expect(lastOf(device.messages, 'stored')).toBe(3));
    const dead = device.messages.filter(({ type }) => type === 'dead');
    expect(dead).toEqual([
      {
        type: 'dead',
        seq: 2,
        reason: 'older-than-retention',
        message: expect.any(String),
        deadLetterId: expect.any(String),
      },
    ]);
    const types = device.messages.map(({ type }) => type);
    expect(types.indexOf('dead')).toBeLessThan(types.lastIndexOf('stored'));
    expect(device.messages.slice(0, types.indexOf('dead')).map((message) => lastOf([message], 'stored'))).not.toContain(
      3,
    );
    const kept = await eventually(async () => {
      const letters = await stack.rows<{ id: string }>("select id from dead_letters where device_id = 'asking'");
      expect(letters).toHaveLength(1);
      return letters;
    });
    expect(kept[0]!.id).toBe(device.dead.get(2));
    expect(await stack.untrueClaims()).toEqual([]);
  });

  it('is told once of readings that reuse a number, with the first number and how many', async () => {
    const token = await stack.platform.keys.token('reusing', 'device');
    const boot = async () => {
      const device = new StoredDevice({ urls: [webSocketUrlOf(edge)], deviceId: 'reusing', token, onClaim: () => {} });
      await eventually(() => expect(device.isConnected).toBe(true));
      for (let seq = 1; seq <= 5; seq += 1) device.send(seq);
      await eventually(() => expect(lastOf(device.messages, 'stored')).toBe(5));
      return device;
    };
    const first = await boot();
    expect(first.messages.filter(({ type }) => type === 'conflicting')).toEqual([]);
    // A device has one session: the newer would end the older, and both connect again.
    first.close();
    const second = await boot();
    await eventually(() =>
      expect(second.messages.filter(({ type }) => type === 'conflicting')).toMatchObject([{ seq: 1 }]),
    );
    for (let seq = 1; seq <= 5; seq += 1) second.send(seq);
    await eventually(() => expect(second.messages.filter(({ type }) => type === 'stored').length).toBeGreaterThan(1));
    expect(second.messages.filter(({ type }) => type === 'conflicting')).toHaveLength(1);
  });

  it('hears what became of its readings although the notice was lost, dead letters too', async () => {
    const device = await stack.device('unlucky', [webSocketUrlOf(edge)]);
    await eventually(() => expect(device.isConnected).toBe(true));
    const release = await stack.blockReadings();
    for (let seq = 1; seq <= 6; seq += 1) device.send(seq, seq === 4 ? Date.now() - 40 * day : Date.now());
    await eventually(() => expect(lastOf(device.messages, 'ack')).toBe(6));
    // The queue of the edge goes with its connection, so the notice reaches no queue.
    proxy.refuse();
    await release();
    await eventually(async () =>
      expect(await stack.rows("select seq from telemetry where device_id = 'unlucky'")).toHaveLength(5),
    );
    await eventually(async () =>
      expect(await stack.rows("select id from dead_letters where device_id = 'unlucky'")).toHaveLength(1),
    );
    expect(lastOf(device.messages, 'stored')).toBeUndefined();
    proxy.resume();
    await eventually(() => expect(lastOf(device.messages, 'stored')).toBe(6));
    expect([...device.dead.keys()]).toEqual([4]);
    expect(await stack.untrueClaims()).toEqual([]);
    await eventually(async () => expect(await edge.metric('fleetwire_awaiting_stored')).toBe(0));
  });
});
