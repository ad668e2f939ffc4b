import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { choosePorts } from '../listen-ports.ts';

const listeners: Server[] = [];
afterEach(() => Promise.all(listeners.splice(0).map((server) => new Promise((closed) => server.close(closed)))));

async function occupy(port = 0): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  listeners.push(server);
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}

describe('the ports of the services', () => {
  it('move to the next one that is free', async () => {
    const taken = await occupy();
    const { one } = await choosePorts({ one: taken });
    expect(one).toBeGreaterThan(taken);
  });

  it('never coincide, nor take the usual one of another service', async () => {
    const taken = await occupy();
    const { one, two } = await choosePorts({ one: taken, two: taken + 1 });
    expect(one).toBeGreaterThan(taken + 1);
    expect(two).toBeGreaterThanOrEqual(taken + 1);
    expect(one).not.toBe(two);
  });
});
