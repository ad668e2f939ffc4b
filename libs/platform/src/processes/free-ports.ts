import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

const loopback = '127.0.0.1';
const triesMax = 100;
/** None is chosen at random twice by one process: it may not be in use yet. */
const chosen = new Set<number>();

/**
 * Below the ephemeral ports of Linux (32768 and up, `ip_local_port_range` in ip(7)) and of IANA (RFC 6335): between the choice of a port and
 * its use, no other program gets it for an outgoing connection or by listening on port 0.
 */
const portMin = 10_000;
const portMax = 32_767;

/**
 * Ports that are free on 127.0.0.1, one for each name: the preferred one where it is free, else one at random from 10000 to 32767.
 * All are held until the last is chosen, so that no two names get the same one.
 */
export async function freePorts<Name extends string>(
  names: readonly Name[],
  preferred: Partial<Record<Name, number>> = {},
): Promise<Record<Name, number>> {
  const ports = {} as Record<Name, number>;
  const held: Server[] = [];
  try {
    for (const name of names) {
      let port = preferred[name] ?? randomPort();
      let server = await listen(port);
      for (let tries = 1; server === undefined && tries < triesMax; tries += 1) {
        port = randomPort();
        server = await listen(port);
      }
      if (!server) throw new Error(`of ${triesMax} TCP ports tried on 127.0.0.1 none was free`);
      held.push(server);
      ports[name] = port;
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  }
}

/** One port that is free on 127.0.0.1. */
export async function freePort(): Promise<number> {
  const { port } = await freePorts(['port']);
  return port;
}

function randomPort(): number {
  let port = randomInt(portMin, portMax + 1);
  while (chosen.has(port)) port = randomInt(portMin, portMax + 1);
  chosen.add(port);
  return port;
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: loopback }, () => resolve(server));
  });
}
