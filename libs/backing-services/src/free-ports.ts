import { createServer, type Server } from 'node:net';

const loopback = '127.0.0.1';

/**
 * Ports that nobody listens on at 127.0.0.1, one for each name: the preferred one where it is free, else any.
 * They are held together until all are chosen, so that no two names get the same one.
 */
export async function freePorts<Name extends string>(
  names: readonly Name[],
  preferred: Partial<Record<Name, number>> = {},
): Promise<Record<Name, number>> {
  const ports = {} as Record<Name, number>;
  const held: Server[] = [];
  try {
    for (const name of names) {
      const server = (await listen(preferred[name] ?? 0)) ?? (await listen(0));
      if (!server) throw new Error('the machine has no free TCP port on 127.0.0.1');
      held.push(server);
      ports[name] = (server.address() as { port: number }).port;
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  }
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: loopback }, () => resolve(server));
  });
}
