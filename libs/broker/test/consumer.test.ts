import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Delivery } from '../src/delivery.ts';
import type { Settlement } from '../src/settled-prefix.ts';
import { queues } from '../src/topology.ts';
import { brokerHarness, gate, recordingLogger, telemetry } from './harness.ts';

const queue = queues.persist;

describe('consumer', async () => {
  const harness = brokerHarness(await freshVhost());

  // Deleted, not purged: a purge would miss messages that a lost channel of the previous test is still returning.
  beforeEach(async () => {
    const operator = await harness.operator();
    for (const each of Object.values(queues)) await operator.deleteQueue(each);
  });

  async function publish(...contents: string[]) {
    const publisher = await harness.publisherOn(harness.open());
    for (const content of contents) await publisher.publish(telemetry(content));
  }

  const numbered = (count: number) => Array.from({ length: count }, (_, index) => String(index));

  /** Messages in the queue that are not delivered to a consumer. */
  async function waiting(): Promise<number> {
    return (await (await harness.operator()).checkQueue(queue)).messageCount;
  }

  /** Leaves every delivery unsettled until the test settles it. */
  function holding() {
    const held: { delivery: Delivery; settle: (settlement: Settlement) => void }[] = [];
    const handle = (delivery: Delivery) =>
      new Promise<Settlement>((resolve) => void held.push({ delivery, settle: resolve }));
    return { held, handle };
  }

  it('delivers content, identity and headers, and removes an acknowledged message from the queue', async () => {
    const message = telemetry('reading', {
      type: 'envelope',
      contentType: 'application/json',
      headers: { traceparent: '00-1' },
      timestampMs: 1_700_000_000_000,
    });
    await (await harness.publisherOn(harness.open())).publish(message);
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open(), { queue, handle });
    await eventually(() => expect(held).toHaveLength(1));
    expect(held[0]?.delivery).toMatchObject({
      content: Buffer.from('reading'),
      messageId: message.messageId,
      type: 'envelope',
      headers: { traceparent: '00-1' },
      timestampMs: 1_700_000_000_000,
      redelivered: false,
      deliveryCount: 0,
    });
    held[0]?.settle('ack');
    await eventually(() => expect(consumer.stats()).toMatchObject({ acked: 1, running: 0 }));
    await consumer.drain(1_000);
    expect(await waiting()).toBe(0);
  });

  it('starts handlers in the order of the queue, and runs no more of them concurrently than the prefetch', async () => {
    await publish(...numbered(12));
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open(), { queue, prefetch: 4, handle });
    for (let settled = 0; settled < 12; settled += 1) {
      await eventually(() => expect(held).toHaveLength(Math.min(12, settled + 4)));
      expect(consumer.stats().running).toBe(Math.min(4, 12 - settled));
      held[settled]!.settle('ack');
    }
    await eventually(() => expect(consumer.stats().acked).toBe(12));
    expect(held.map(({ delivery }) => String(delivery.content))).toEqual(numbered(12));
  });

  it('acknowledges nothing beyond an unsettled message, and then all of them with one acknowledgement', async () => {
    await publish(...numbered(5));
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open(), { queue, handle });
    await eventually(() => expect(held).toHaveLength(5));
    for (const { settle } of held.slice(1)) settle('ack');
    await eventually(() => expect(consumer.stats()).toMatchObject({ running: 1, acked: 0 }));
    held[0]?.settle('ack');
    await eventually(() => expect(consumer.stats()).toMatchObject({ running: 0, acked: 5 }));
    await consumer.drain(1_000);
    expect(await waiting()).toBe(0);
  });

  it('acknowledges every message once when handlers finish in random order', async () => {
    await publish(...numbered(200));
    const done: string[] = [];
    const consumer = await harness.consumerOn(harness.open(), {
      queue,
      prefetch: 50,
      handle: async ({ content }) => {
        await sleep(Math.random() * 20);
        if (Math.random() < 0.1) return 'requeue';
        done.push(String(content));
        return 'ack';
      },
    });
    await eventually(() => expect(consumer.stats()).toMatchObject({ acked: 200, running: 0 }));
    expect(done.toSorted((a, b) => Number(a) - Number(b))).toEqual(numbered(200));
    expect(consumer.stats().subscriptions).toBe(1);
    await consumer.drain(1_000);
    expect(await waiting()).toBe(0);
  });

  it('receives a requeued message again, marked as redelivered', async () => {
    await publish('reading');
    const seen: Pick<Delivery, 'redelivered' | 'deliveryCount'>[] = [];
    const consumer = await harness.consumerOn(harness.open(), {
      queue,
      handle: async ({ redelivered, deliveryCount }) => {
        seen.push({ redelivered, deliveryCount });
        return seen.length < 3 ? 'requeue' : 'ack';
      },
    });
    await eventually(() => expect(consumer.stats()).toMatchObject({ requeued: 2, acked: 1 }));
    expect(seen).toMatchObject([{ redelivered: false }, { redelivered: true }, { redelivered: true }]);
    expect(seen[0]?.deliveryCount).toBe(0);
  });

  it('receives after a lost connection the unsettled messages, and only those', async () => {
    await publish(...numbered(6));
    const proxy = await harness.startProxy();
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open({ proxy }), { queue, handle });
    await eventually(() => expect(held).toHaveLength(6));
    for (const { settle } of held.slice(0, 2)) settle('ack');
    await eventually(() => expect(consumer.stats().acked).toBe(2));
    // Let the acknowledgement reach the broker before the wire is cut.
    const operator = await harness.operator();
    await operator.checkQueue(queue);
    proxy.cut();
    await eventually(() => expect(consumer.subscribed).toBe(false), { intervalMs: 1 });
    for (const { settle } of held.slice(2)) settle('ack');
    await eventually(() => expect(held).toHaveLength(10));
    const again = held.slice(6).map(({ delivery }) => delivery);
    expect(again.map(({ content }) => String(content))).toEqual(['2', '3', '4', '5']);
    expect(again.every(({ redelivered }) => redelivered)).toBe(true);
    for (const { settle } of held.slice(6)) settle('ack');
    await eventually(() => expect(consumer.stats().acked).toBe(6));
    expect(consumer.stats()).toMatchObject({ droppedSettlements: 4, subscriptions: 2 });
  });

  it('drops settlements of messages of a lost channel, which would acknowledge other messages on the new one', async () => {
    await publish('first', 'second');
    const proxy = await harness.startProxy();
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open({ proxy }), { queue, prefetch: 1, handle });
    await eventually(() => expect(held).toHaveLength(1));
    proxy.reset();
    await eventually(() => expect(consumer.subscribed).toBe(false));
    held[0]?.settle('ack');
    await eventually(() => expect(held).toHaveLength(2));
    expect(String(held[1]?.delivery.content)).toBe('first');
    expect(consumer.stats()).toMatchObject({ acked: 0, droppedSettlements: 1 });
    held[1]?.settle('ack');
    await eventually(() => expect(held).toHaveLength(3));
    expect(String(held[2]?.delivery.content)).toBe('second');
    held[2]?.settle('ack');
    await eventually(() => expect(consumer.stats().acked).toBe(2));
  });

  it('accepts no new messages while handlers of a lost channel fill the prefetch', async () => {
    await publish(...numbered(8));
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy });
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(connection, { queue, prefetch: 3, handle });
    await eventually(() => expect(held).toHaveLength(3));
    for (const generation of [2, 3]) {
      proxy.cut();
      await eventually(() => expect(connection).toMatchObject({ state: 'open', generation }));
    }
    expect(consumer.stats()).toMatchObject({ running: 3, subscriptions: 1 });
    for (const { settle } of held) settle('ack');
    await eventually(() => expect(held).toHaveLength(6));
    expect(consumer.stats()).toMatchObject({ running: 3, subscriptions: 2 });
    for (const { settle } of held) settle('requeue');
  });

  it('restores a deleted queue, subscribes again and logs it', async () => {
    await publish('before');
    const logger = recordingLogger();
    const received: string[] = [];
    const consumer = await harness.consumerOn(harness.open(), {
      queue,
      logger,
      handle: async ({ content }) => {
        received.push(String(content));
        return 'ack';
      },
    });
    await eventually(() => expect(received).toEqual(['before']));
    await (await harness.operator()).deleteQueue(queue);
    await eventually(() => expect(consumer.stats().subscriptions).toBe(2));
    await publish('after');
    await eventually(() => expect(received).toEqual(['before', 'after']));
    expect(logger.lines).toContainEqual({
      level: 'warn',
      message: 'subscription lost, subscribing again',
      fields: { queue, reason: 'cancelled' },
    });
  });

  it('requeues a message whose handler throws until the delivery limit dead-letters it, without affecting others', async () => {
    await publish('good', 'poison', 'good');
    const logger = recordingLogger();
    const consumer = await harness.consumerOn(harness.open(), {
      queue,
      logger,
      handle: async ({ content }) => {
        if (String(content) === 'poison') throw new Error('cannot digest');
        return 'ack';
      },
    });
    await eventually(() => expect(consumer.stats().handlerFailures).toBe(21));
    await eventually(async () =>
      expect(await (await harness.operator()).checkQueue(queues.dead)).toMatchObject({ messageCount: 1 }),
    );
    expect(consumer.stats()).toMatchObject({ acked: 2, requeued: 21 });
    expect(logger.lines).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'message handler threw; message requeued' }),
    );
  });

  it('drains: awaits running handlers, acknowledges their messages, accepts no new ones', async () => {
    await publish(...numbered(6));
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open(), { queue, prefetch: 2, handle });
    await eventually(() => expect(held).toHaveLength(2));
    const drained = consumer.drain(5_000);
    // The settlements come after the cancellation's answer, which cannot be seen: a cancelled consumer still counts.
    await sleep(100);
    for (const { settle } of held) settle('ack');
    expect(await drained).toBe(true);
    expect(held).toHaveLength(2);
    expect(consumer.stats().acked).toBe(2);
    expect(await waiting()).toBe(4);
  });

  it('drains: requeues messages that are not settled in time, and drops later settlements', async () => {
    await publish(...numbered(3));
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open(), { queue, handle });
    await eventually(() => expect(held).toHaveLength(3));
    held[0]?.settle('ack');
    expect(await consumer.drain(50)).toBe(false);
    expect(await waiting()).toBe(2);
    held[1]?.settle('ack');
    await eventually(() => expect(consumer.stats().droppedSettlements).toBe(1));
    expect(await waiting()).toBe(2);
  });

  it('drains: requeues messages that were being delivered when it began', async () => {
    const proxy = await harness.startProxy();
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(harness.open({ proxy }), { queue, handle });
    proxy.stall('to-client');
    await publish(...numbered(3));
    await eventually(async () => expect(await waiting()).toBe(0));
    const drained = consumer.drain(5_000);
    proxy.resume();
    expect(await drained).toBe(true);
    expect(held).toHaveLength(0);
    expect(await waiting()).toBe(3);
  });

  it('drains in bounded time when the broker does not answer', async () => {
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy });
    const consumer = await harness.consumerOn(connection, { queue, handle: async () => 'ack', closeTimeoutMs: 100 });
    proxy.stall();
    const startedAt = performance.now();
    await consumer.drain(100);
    // A busy machine may add to it; without the bound it would be the heartbeat that ends the wait.
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });

  it.each<Settlement>(['ack', 'requeue'])('tolerates %s while its connection is closing', async (settlement) => {
    await publish('reading');
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy, closeTimeoutMs: 200 });
    const { held, handle } = holding();
    const consumer = await harness.consumerOn(connection, { queue, handle });
    await eventually(() => expect(held).toHaveLength(1));
    proxy.stall();
    const closed = connection.close();
    held[0]?.settle(settlement);
    await closed;
    expect(consumer).toMatchObject({ subscribed: false });
    proxy.cut();
    await eventually(async () => expect(await waiting()).toBe(1));
  });

  it('shares a queue with a second consumer, which receives the unacknowledged messages of the first when that disconnects', async () => {
    await publish(...numbered(20));
    const proxy = await harness.startProxy();
    const stuck = holding();
    const first = await harness.consumerOn(harness.open({ proxy }), { queue, prefetch: 5, handle: stuck.handle });
    await eventually(() => expect(stuck.held).toHaveLength(5));
    const survivor = await harness.consumerOn(harness.open(), { queue, handle: async () => 'ack' });
    await eventually(() => expect(survivor.stats().acked).toBe(15));
    proxy.refuse();
    await eventually(() => expect(survivor.stats().acked).toBe(20));
    expect(first.stats().acked).toBe(0);
  });

  it('lets a handler finish while the connection is down, and resumes afterwards', async () => {
    await publish('reading');
    const proxy = await harness.startProxy();
    const running = gate();
    const consumer = await harness.consumerOn(harness.open({ proxy }), {
      queue,
      handle: async ({ redelivered }) => {
        if (!redelivered) await running.opened;
        return 'ack';
      },
    });
    await eventually(() => expect(consumer.stats().running).toBe(1));
    proxy.refuse();
    await eventually(() => expect(consumer.subscribed).toBe(false));
    running.open();
    await eventually(() => expect(consumer.stats().droppedSettlements).toBe(1));
    proxy.resume();
    await eventually(() => expect(consumer.stats().acked).toBe(1));
  });
});
