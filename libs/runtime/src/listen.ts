import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ListenOptions {
  readonly host: string;
  /** With 0 the operating system picks a free one. */
  readonly port: number;
  /** How long a client may take to send all headers; tests shorten it. */
  readonly headersTimeoutMs?: number;
  /** How long a client may take to send the whole request; tests shorten it. */
  readonly requestTimeoutMs?: number;
  /** How long `stop` waits for responses in flight before it closes their connections; tests shorten it. */
  readonly stopTimeoutMs?: number;
}

export interface Listening {
  /** For protocols that upgrade. Close upgraded sockets before calling `stop`. */
  readonly server: Server;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Stops accepting, closes idle connections, and lets responses in flight finish within `stopTimeoutMs`. */
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

/** Whether only this machine can reach a server that listens on this host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
