import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { fleetwireTopology } from '@fleetwire/broker/topology';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { expect, it } from 'vitest';
import { readIngestConfiguration } from '../src/configuration.ts';
import { startIngest } from '../src/start-ingest.ts';
import { logger } from './harness.ts';

/** Timers and sockets that keep this process running, by kind. */
function activeResources(): { timers: number; sockets: number } {
  const kinds = process.getActiveResourcesInfo();
  const count = (kind: string): number => kinds.filter((each) => each === kind).length;
  return { timers: count('Timeout'), sockets: count('TCPSocketWrap') };
}

it('an edge whose port is taken does not start, and leaves no broker connection, timer or report behind', async () => {
  const occupied = createServer();
  occupied.listen({ host: '127.0.0.1', port: 0 });
  await once(occupied, 'listening');
  cleanUp(() => void occupied.close());
  const { proxy, url } = await proxied(await freshVhost());
  const config = readIngestConfiguration({
    AMQP_URL: url,
    AUTH_MODE: 'open',
    PORT: String((occupied.address() as AddressInfo).port),
  });
  const before = activeResources();

  await expect(startIngest({ config, logger, topology: fleetwireTopology() })).rejects.toThrow('EADDRINUSE');

  // Not `eventually`: its own timers would be counted.
  const deadline = performance.now() + 60_000;
  const isClean = (): boolean => {
    const { timers, sockets } = activeResources();
    return timers <= before.timers && sockets <= before.sockets && proxy.connections === 0;
  };
  while (!isClean() && performance.now() < deadline) await turn();
  const { timers, sockets } = activeResources();
  expect(timers).toBeLessThanOrEqual(before.timers);
  expect(sockets).toBeLessThanOrEqual(before.sockets);
  expect(proxy.connections).toBe(0);
});
