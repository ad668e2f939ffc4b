import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, inject, it } from 'vitest';
import { createBrokerView, vhostOf } from '../src/broker-view.ts';

const vhost = vhostOf(await freshVhost());
const options = { managementUrl: inject('managementUrl'), vhost, timeoutMs: 5_000 };

describe('the view of the broker', () => {
  it('shows how deep the telemetry queues are, and no others', async () => {
    for (const name of ['telemetry.persist', 'somebody.elses']) {
      await manageBroker('PUT', `/queues/${vhost}/${name}`, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    }
    for (const payload of ['one', 'two']) {
      const message = { routing_key: 'telemetry.persist', payload, payload_encoding: 'string', properties: {} };
      await manageBroker('POST', `/exchanges/${vhost}/amq.default/publish`, message);
    }
    const view = createBrokerView(options);
    // The broker refreshes its counts every five seconds.
    await eventually(
      async () => expect(await view.queues()).toEqual([{ name: 'telemetry.persist', messages: 2, unacknowledged: 0 }]),
      { timeoutMs: 15_000, intervalMs: 250 },
    );
  });

  it('fails in time when nobody answers, and says what the broker refused', async () => {
    await expect(createBrokerView({ ...options, managementUrl: 'http://u:p@127.0.0.1:1' }).queues()).rejects.toThrow();
    const stranger = new URL(options.managementUrl);
    stranger.password = 'wrong';
    await expect(createBrokerView({ ...options, managementUrl: stranger.href }).queues()).rejects.toThrow(
      'answered 401',
    );
  });

  it.each([
    [undefined, '/'],
    ['amqp://h', '/'],
    ['amqp://h/', '/'],
    ['amqp://h/%2F', '/'],
    ['amqp://h/fleet%20one', 'fleet one'],
  ])('reads the virtual host of %s as %s', (url, expected) => {
    expect(vhostOf(url)).toBe(expected);
  });
});
