import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Time for a client to send all headers. */
  readonly headersTimeoutMs?: number;
  /** Time for a client to send the whole request. */
  readonly requestTimeoutMs?: number;
  /** How long `stop` lets answers in flight take before it cuts their connections. */
  readonly stopTimeoutMs?: number;
}

export interface Listening {
  /** For protocols that upgrade. Upgraded sockets are their owner's to close before `stop`. */
  readonly server: Server;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Stops accepting, closes idle connections, lets answers in flight finish within `stopTimeoutMs`. */
  stop(): Promise<void>;
}

/** Longer than the idle timeout of common load balancers (60 s), which must be the ones to close an idle connection. */
const keepAliveTimeoutMs = 65_000;

/** Listens for HTTP; rejects when the address cannot be bound. */
export async function listen(handler: RequestListener, options: ListenOptions): Promise<Listening> {
  const { host, headersTimeoutMs = 10_000, requestTimeoutMs = 30_000, stopTimeoutMs = 10_000 } = options;
  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: 1_000,
  });
  let stopping = false;
  server.on('request', (_request, response) => {
    if (stopping) response.setHeader('Connection', 'close');
    response.once('close', () => {
      if (stopping) setImmediate(() => server.closeIdleConnections());
    });
  });
  server.on('request', handler);
  server.listen({ host, port: options.port });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const close = async (): Promise<void> => {
    stopping = true;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const deadline = setTimeout(() => server.closeAllConnections(), stopTimeoutMs);
    await closed;
    clearTimeout(deadline);
  };
  let stopped: Promise<void> | undefined;
  return {
    server,
    host,
    port,
    url: `http://${urlHost(host)}:${port}`,
    stop: () => (stopped ??= close()),
  };
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
