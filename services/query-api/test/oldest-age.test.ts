import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { vhostOf } from '../src/queues/management-source.ts';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore } from './stored.ts';

const { databaseUrl, database } = await freshStore();
const amqpUrl = await freshVhost();
const vhost = vhostOf(amqpUrl);
const token = await tokenFor('operator');

const report = async (instanceId: string, secondsAgo: number, { isFinished = false } = {}): Promise<void> => {
  await database.pool.query(
    `insert into books_edges (instance_id, reports, first_reported_at, last_reported_at, is_finished)
     values ($1, '{[1,9)}', now() - interval '1 hour', now() - $2 * interval '1 second', $3)
     on conflict (instance_id) do update set last_reported_at = excluded.last_reported_at, is_finished = excluded.is_finished`,
    [instanceId, secondsAgo, isFinished],
  );
};

describe('the age of the oldest message of a queue that no worker consumes', () => {
  it('comes from the newest edge report that was recorded: the next one is among the queued messages', async () => {
    await manageBroker('PUT', `/queues/${vhost}/telemetry.persist`, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum' },
    });
    const message = { routing_key: 'telemetry.persist', payload: 'one', payload_encoding: 'string', properties: {} };
    await manageBroker('POST', `/exchanges/${vhost}/amq.default/publish`, message);
    await report('edge-1', 25);
    await report('edge-2', 400);
    const api = await startApi({ DATABASE_URL: databaseUrl, AMQP_URL: amqpUrl });
    const oldest = async () => {
      const { body } = await api.get('/api/v1/queues', { token });
      const queue = body.data.find(({ name }: { name: string }) => name === 'telemetry.persist');
      expect(queue).toMatchObject({ ready: 1, consumers: 0 });
      return queue.oldest as { ageSeconds: number; atLeast: boolean; atMost: boolean; source: string };
    };
    await eventually(async () =>
      expect(await oldest()).toMatchObject({ source: 'reports', atLeast: false, atMost: true }),
    );
    const { ageSeconds } = await oldest();
    expect(ageSeconds).toBeGreaterThanOrEqual(25);
    expect(ageSeconds).toBeLessThan(60);

    // Every instance ended with its final report: no message of theirs is queued, and their reports tell nothing.
    await report('edge-1', 25, { isFinished: true });
    await eventually(async () =>
      expect(await oldest()).toMatchObject({ source: 'observed', atLeast: true, atMost: false }),
    );
  });
});
