import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import type { GetMessage } from 'amqplib';
import { describe, expect, it } from 'vitest';
import { TopologyMismatchError } from '../src/errors.ts';
import { attemptOf, headersOfNextAttempt, type Headers } from '../src/retry-headers.ts';
import {
  declareTopology,
  exchanges,
  edgeRoutingKey,
  fleetwireTopology,
  queues,
  resultRoutingKey,
  retryQueue,
  retrySteps,
  routingKeys,
} from '../src/topology.ts';
import { attempt, brokerHarness, telemetry, type Harness } from './harness.ts';

const retryDelaysMs = { '10s': 100, '1m': 150, '10m': 200 };

async function nextMessage(harness: Harness, queue: string): Promise<GetMessage> {
  const channel = await harness.operator();
  return eventually(async () => {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) throw new Error(`${queue} is empty`);
    return message;
  });
}

describe('topology', async () => {
  const topology = fleetwireTopology({ retryDelaysMs, persistDeliveriesMax: 2 });
  const harness = brokerHarness(await freshVhost(), topology);

  it('exists after a declaration, and a second declaration changes nothing', async () => {
    await harness.open().opened;
    await harness.open().opened;
    const channel = await harness.operator();
    for (const queue of [queues.persist, queues.dead, queues.commandResults, ...retrySteps.map(retryQueue)]) {
      expect(await channel.checkQueue(queue)).toMatchObject({ queue, messageCount: 0 });
    }
    for (const name of Object.values(exchanges).filter((exchange) => exchange !== exchanges.default)) {
      await channel.checkExchange(name);
    }
  });

  it('names the queue and the argument when a queue exists with a different setting', async () => {
    await harness.open().opened;
    const onOpen = declareTopology(fleetwireTopology({ retryDelaysMs, persistDeliveriesMax: 2, deadMessagesMax: 7 }));
    const mismatch = await harness.open({ onOpen }).opened.catch((error: unknown) => error);
    expect(mismatch).toBeInstanceOf(TopologyMismatchError);
    expect(mismatch).toMatchObject({ entity: `queue '${queues.dead}'`, argument: 'x-max-length' });
  });

  it('returns an unroutable message to its publisher in spite of the alternate exchange', async () => {
    const publisher = await harness.publisherOn(harness.open());
    expect(await attempt(publisher, telemetry('lost', { routingKey: 'nowhere' }))).toBe('returned');
  });

  it('keeps outcomes of commands, awaited or not, for the worker, and returns a command for an edge that is gone', async () => {
    const publisher = await harness.publisherOn(harness.open());
    for (const replyTo of ['q-1', null]) {
      const outcome = telemetry('outcome', { exchange: exchanges.commands, routingKey: resultRoutingKey(replyTo) });
      await publisher.publish(outcome);
      const kept = await nextMessage(harness, queues.commandResults);
      expect(kept.properties.messageId).toBe(outcome.messageId);
    }
    for (const routingKey of [edgeRoutingKey('in-1'), routingKeys.edges])
      expect(await attempt(publisher, telemetry('command', { exchange: exchanges.commands, routingKey }))).toBe(
        'returned',
      );
  });

  it('returns a message to the work queue from every retry queue, without growing broker headers', async () => {
    const publisher = await harness.publisherOn(harness.open());
    let headers: Headers = { traceparent: '00-1' };
    for (const [index, step] of retrySteps.entries()) {
      const copy = telemetry('again', {
        exchange: exchanges.default,
        routingKey: retryQueue(step),
        headers: headersOfNextAttempt(headers),
      });
      await publisher.publish(copy);
      const back = await nextMessage(harness, queues.persist);
      headers = back.properties.headers!;
      expect(back.properties.messageId).toBe(copy.messageId);
      expect(attemptOf(headers)).toBe(index + 1);
      expect(headers).toMatchObject({ traceparent: '00-1', 'x-death': [{ queue: retryQueue(step), count: 1 }] });
      expect(headers['x-death']).toHaveLength(1);
    }
  });

  it('dead-letters a message that was delivered too often without an acknowledgement', async () => {
    const connection = harness.open();
    const publisher = await harness.publisherOn(connection);
    const poison = telemetry('poison');
    await publisher.publish(poison);
    let deliveries = 0;
    await harness.consumerOn(harness.open(), {
      queue: queues.persist,
      handle: async () => {
        deliveries += 1;
        return 'requeue';
      },
    });
    const dead = await nextMessage(harness, queues.dead);
    expect(dead.properties.messageId).toBe(poison.messageId);
    expect(dead.properties.headers?.['x-first-death-reason']).toBe('delivery_limit');
    expect(deliveries).toBe(3);
  });
});

describe('a retry queue', async () => {
  const topology = fleetwireTopology({ retryDelaysMs, persistMessagesMax: 1 });
  const harness = brokerHarness(await freshVhost(), topology);

  it('returns its messages soon after there is room in the work queue, which was full', async () => {
    const publisher = await harness.publisherOn(harness.open());
    await eventually(async () => expect(await attempt(publisher, telemetry('early'))).toBe('nacked'));
    const retry = { exchange: exchanges.default, routingKey: retryQueue('10s') };
    expect(await attempt(publisher, telemetry('late', retry))).toBe('confirmed');
    const channel = await harness.operator();
    // The broker has tried to return it then, and holds it.
    await eventually(async () => expect((await channel.checkQueue(retryQueue('10s'))).messageCount).toBe(0));
    await eventually(async () => expect(String((await nextMessage(harness, queues.persist)).content)).toBe('late'));
  });
});
