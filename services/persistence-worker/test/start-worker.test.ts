import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { queues } from '@fleetwire/broker/topology';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { type Harness, workerHarness } from './harness.ts';

async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function consumers(harness: Harness): Promise<number> {
  const channel = await harness.connection.openChannel();
  const counts = await Promise.all(
    [queues.persist, queues.dead].map(async (name) => (await channel.checkQueue(name)).consumerCount),
  );
  await channel.close();
  return counts.reduce((sum, count) => sum + count, 0);
}

it('a worker whose port is taken fails to start, and leaves no consumer and no connection behind', async () => {
  const harness = await workerHarness();
  await expect(harness.worker({ PORT: String(await takenPort()) })).rejects.toThrow('EADDRINUSE');
  // What the first one has left would consume by the time that a later one does.
  const worker = await harness.worker();
  await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
  await eventually(async () => expect(await consumers(harness)).toBe(2));
  await worker.stop();
  await eventually(async () => {
    expect(await consumers(harness)).toBe(0);
    expect(
      await harness.rows(
        `select pid from pg_stat_activity where datname = current_database() and application_name like 'persistence-worker%'`,
      ),
    ).toEqual([]);
  });
});
