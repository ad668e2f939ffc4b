import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, inject, it } from 'vitest';
import { managementSource, vhostOf } from '../src/queues/management-source.ts';

const vhost = vhostOf(await freshVhost());
const managementUrl = inject('managementUrl');

describe("the management API's view of the queues", () => {
  it('counts the messages of the telemetry queues and of no others', async () => {
    for (const name of ['telemetry.persist', 'other.queue']) {
      await manageBroker('PUT', `/queues/${vhost}/${name}`, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    }
    for (const payload of ['one', 'two']) {
      const message = { routing_key: 'telemetry.persist', payload, payload_encoding: 'string', properties: {} };
      await manageBroker('POST', `/exchanges/${vhost}/amq.default/publish`, message);
    }
    const source = managementSource({ managementUrl, vhost });
    // The broker refreshes its counts every five seconds.
    await eventually(
      async () => {
        const { queues } = await source.sample(AbortSignal.timeout(5_000));
        expect(queues).toMatchObject([{ name: 'telemetry.persist', ready: 2, unacked: 0, consumers: 0 }]);
      },
      { intervalMs: 250 },
    );
  });

  it('rejects when nothing listens, and with the status code that the broker answered', async () => {
    const sampleFrom = (url: string) =>
      managementSource({ managementUrl: url, vhost }).sample(AbortSignal.timeout(5_000));
    await expect(sampleFrom('http://u:p@127.0.0.1:1')).rejects.toThrow();
    const wrongPassword = new URL(managementUrl);
    wrongPassword.password = 'wrong';
    await expect(sampleFrom(wrongPassword.href)).rejects.toThrow('answered 401');
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
