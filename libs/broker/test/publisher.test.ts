import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { beforeEach, describe, expect, it } from 'vitest';
import { PublishError } from '../src/errors.ts';
import { PublishChannel } from '../src/publish-channel.ts';
import { PublishWindow } from '../src/publish-window.ts';
import { exchanges, fleetwireTopology, queues, routingKeys } from '../src/topology.ts';
import { attempt, brokerHarness, recordingLogger, telemetry } from './harness.ts';

const persistMessagesMax = 20;

describe('publisher', async () => {
  const harness = brokerHarness(await freshVhost(), fleetwireTopology({ persistMessagesMax }));

  beforeEach(async () => void (await (await harness.operator()).deleteQueue(queues.persist)));

  it('resolves only after the confirm, not when the message is queued', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }));
    const operator = await harness.operator();
    proxy.stall('to-client');
    let confirmed = false;
    const publish = publisher.publish(telemetry()).then(() => (confirmed = true));
    await eventually(async () => expect(await operator.checkQueue(queues.persist)).toMatchObject({ messageCount: 1 }));
    expect(confirmed).toBe(false);
    proxy.resume();
    await publish;
  });

  it('replaces a channel that was closed before anything listened to it', async () => {
    const connection = harness.open();
    await connection.whenOpen();
    const opened = await connection.openConfirmChannel();
    await opened.close();
    const channel = new PublishChannel(opened, {
      window: new PublishWindow({ messagesInFlightMax: 1, bytesInFlightMax: 1_000 }),
      confirmTimeoutMs: 1_000,
      onChange: () => {},
      onError: () => {},
      onLost: () => {},
      onReturned: () => {},
    });
    await expect(channel.publish(telemetry())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(channel.lost).resolves.toBeUndefined();
  });

  it('publishes persistently, with identity, type and headers', async () => {
    const publisher = await harness.publisherOn(harness.open());
    const message = telemetry('reading', {
      type: 'envelope',
      contentType: 'application/json',
      headers: { traceparent: '00-1' },
      timestampMs: 1_700_000_000_000,
    });
    await publisher.publish(message);
    const got = await (await harness.operator()).get(queues.persist, { noAck: true });
    expect(got).toMatchObject({
      content: Buffer.from('reading'),
      properties: {
        deliveryMode: 2,
        messageId: message.messageId,
        type: 'envelope',
        contentType: 'application/json',
        headers: { traceparent: '00-1' },
        timestamp: 1_700_000_000,
      },
    });
  });

  it('rejects a message that no queue receives as returned, and no other', async () => {
    const publisher = await harness.publisherOn(harness.open());
    const publishes = ['persist', 'nowhere', 'persist', 'nowhere'].map((routingKey) =>
      attempt(publisher, telemetry('reading', { routingKey })),
    );
    expect(await Promise.all(publishes)).toEqual(['confirmed', 'returned', 'confirmed', 'returned']);
  });

  it('restores a binding that was removed while it publishes', async () => {
    const publisher = await harness.publisherOn(harness.open());
    const operator = await harness.operator();
    await operator.unbindQueue(queues.persist, exchanges.telemetry, routingKeys.persist);
    expect(await attempt(publisher, telemetry())).toBe('returned');
    await eventually(() => publisher.publish(telemetry()));
  });

  it('restores an exchange that was deleted while it publishes', async () => {
    const publisher = await harness.publisherOn(harness.open());
    await (await harness.operator()).deleteExchange(exchanges.telemetry);
    expect(await attempt(publisher, telemetry())).toBe('channel-lost');
    await eventually(() => publisher.publish(telemetry()));
  });

  it('is nacked while the queue is at its length limit, and confirmed again when there is room', async () => {
    const publisher = await harness.publisherOn(harness.open());
    // The broker announces the limit to publishers with a small delay, so that a few more messages are accepted.
    await eventually(async () => expect(await attempt(publisher, telemetry())).toBe('nacked'), {
      intervalMs: 1,
    });
    await (await harness.operator()).purgeQueue(queues.persist);
    await eventually(() => publisher.publish(telemetry()));
  });

  it('rejects messages without a confirm in time, replaces the channel, and recovers', async () => {
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy });
    const publisher = await harness.publisherOn(connection, { confirmTimeoutMs: 400 });
    proxy.stall();
    const overdue = attempt(publisher, telemetry());
    await sleep(250);
    const recent = attempt(publisher, telemetry());
    expect(await Promise.all([overdue, recent])).toEqual(['confirm-timeout', 'channel-lost']);
    expect(publisher.inFlight).toEqual({ messages: 0, bytes: 0 });
    expect(publisher.writable).toBe(false);
    await eventually(() => expect(connection.state).toBe('connecting'));
    proxy.resume();
    await publisher.whenWritable();
    await publisher.publish(telemetry());
  });

  it('replaces only the channel when the connection is alive but confirms are late', async () => {
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy });
    const logger = recordingLogger();
    const publisher = await harness.publisherOn(connection, { confirmTimeoutMs: 200, logger });
    proxy.stall('to-client');
    expect(await attempt(publisher, telemetry())).toBe('confirm-timeout');
    proxy.resume();
    await publisher.whenWritable();
    await publisher.publish(telemetry());
    expect(logger.lines.map(({ message }) => message)).toEqual(['no confirm in time, replacing the channel']);
    expect(connection.generation).toBe(1);
  });

  it('rejects every outstanding message once when the connection is lost, and reconnects with the topology', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }));
    proxy.stall();
    const publishes = Array.from({ length: 10 }, () => attempt(publisher, telemetry()));
    await (await harness.operator()).deleteQueue(queues.persist);
    proxy.cut();
    expect(await Promise.all(publishes)).toEqual(publishes.map(() => 'channel-lost'));
    proxy.resume();
    await publisher.whenWritable();
    await publisher.publish(telemetry());
    expect(publisher.inFlight).toEqual({ messages: 0, bytes: 0 });
  });

  it('admits no more messages than its window holds', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }), { messagesInFlightMax: 3 });
    const writable: boolean[] = [];
    publisher.onWritableChange((now) => writable.push(now));
    proxy.stall();
    const publishes = Array.from({ length: 4 }, () => attempt(publisher, telemetry()));
    expect(await publishes[3]).toBe('window-full');
    expect(publisher.inFlight.messages).toBe(3);
    expect(publisher.writable).toBe(false);
    proxy.resume();
    await publisher.whenWritable();
    expect(await Promise.all(publishes.slice(0, 3))).toEqual(['confirmed', 'confirmed', 'confirmed']);
    expect(writable).toEqual([false, true]);
  });

  it('admits no more bytes than its window holds, except for the last message', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }), { bytesInFlightMax: 1_000 });
    proxy.stall();
    const admitted = [999, 5_000].map((bytes) => attempt(publisher, telemetry(Buffer.alloc(bytes))));
    expect(await attempt(publisher, telemetry(Buffer.alloc(1)))).toBe('window-full');
    expect(publisher.inFlight).toEqual({ messages: 2, bytes: 5_999 });
    proxy.resume();
    expect(await Promise.all(admitted)).toEqual(['confirmed', 'confirmed']);
    expect(publisher.inFlight).toEqual({ messages: 0, bytes: 0 });
  });

  it('stops being writable when the socket is slower than the caller', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }), {
      messagesInFlightMax: 100_000,
      bytesInFlightMax: 1024 ** 3,
    });
    proxy.stall();
    const publishes: Promise<string>[] = [];
    const content = Buffer.alloc(64 * 1024);
    while (publisher.writable) publishes.push(attempt(publisher, telemetry(content, { routingKey: 'nowhere' })));
    expect(publishes.length).toBeLessThan(2_000);
    proxy.resume();
    await publisher.whenWritable();
    expect(new Set(await Promise.all(publishes))).toEqual(new Set(['returned']));
  });

  it('rejects immediately while there is no connection', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }));
    proxy.refuse();
    await eventually(() => expect(publisher.writable).toBe(false));
    const refused = publisher.publish(telemetry());
    await expect(refused).rejects.toBeInstanceOf(PublishError);
    await expect(refused).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(publisher.whenWritable(AbortSignal.timeout(20))).rejects.toThrow('timeout');
  });

  it('rejects a message that AMQP cannot encode without losing count of the others', async () => {
    const publisher = await harness.publisherOn(harness.open());
    const tooLarge = telemetry('reading', { headers: { note: 'x'.repeat(100_000) } });
    const [first, second, third] = [telemetry(), tooLarge, telemetry()].map((message) => publisher.publish(message));
    await expect(second).rejects.toThrow(RangeError);
    await Promise.all([first, third]);
    expect(publisher.inFlight).toEqual({ messages: 0, bytes: 0 });
  });

  it('rejects the messages in flight when it is closed', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }), { closeTimeoutMs: 50 });
    proxy.stall();
    const publish = attempt(publisher, telemetry());
    const closed = publisher.close();
    expect(await publish).toBe('channel-lost');
    await closed;
    expect(await attempt(publisher, telemetry())).toBe('unavailable');
  });

  it('settles every message once and releases it from the window, through connection losses at random moments', async () => {
    const proxy = await harness.startProxy();
    const publisher = await harness.publisherOn(harness.open({ proxy }), { messagesInFlightMax: 50 });
    const publishes: Promise<string>[] = [];
    for (let cut = 0; cut < 5; cut += 1) {
      await publisher.whenWritable();
      for (let count = 0; count < 30; count += 1) publishes.push(attempt(publisher, telemetry()));
      if (cut % 2 === 0) await publishes.at(-20);
      proxy.reset();
    }
    const ends = await Promise.all(publishes);
    const outcomes = new Set(['confirmed', 'nacked', 'channel-lost', 'unavailable', 'window-full']);
    expect(outcomes.isSupersetOf(new Set(ends))).toBe(true);
    expect(ends.filter((end) => end === 'channel-lost').length).toBeGreaterThan(0);
    expect(publisher.inFlight).toEqual({ messages: 0, bytes: 0 });
  });
});
