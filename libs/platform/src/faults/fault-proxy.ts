import { EventEmitter, once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { resetSocket } from './reset-socket.ts';

type Direction = 'to-server' | 'to-client';

/** A TCP proxy that breaks connections in the ways networks do. */
export interface FaultProxy {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number;
  /** Clients connected now. */
  readonly connections: number;
  /** Closes all open connections (FIN). New ones pass. */
  cut(): void;
  /** Resets all open connections (RST). New ones pass. */
  reset(): void;
  /**
   * Passes nothing on, not even the end of a connection: both sides keep a half-open one. New connections are accepted
   * and receive nothing.
   */
  stall(direction?: Direction | 'both'): void;
  /** Limits each direction of each connection to this rate. */
  slow(bytesPerSecond: number): void;
  /** Resets open and new connections until `resume`. */
  refuse(): void;
  /** Everything passes again, at full speed. Data that a stall held back is delivered. */
  resume(): void;
  stop(): Promise<void>;
}

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

const SLICES_PER_SECOND = 20;

/** @param target a function is called for every new connection */
export async function startFaultProxy(target: ProxyTarget | (() => ProxyTarget)): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const clients = new Set<Socket>();
  const stalled = new Set<Direction>();
  const resumed = new EventEmitter().setMaxListeners(0);
  const stopping = new AbortController();
  let bytesPerSecond = Number.POSITIVE_INFINITY;
  let refusing = false;

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    if (refusing) return void client.resetAndDestroy();
    const { host, port } = typeof target === 'function' ? target() : target;
    const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true });
    clients.add(client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      // The pump handles it too and passes it on.
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('close', () => clients.delete(client));
    void pump(client, upstream, 'to-server');
    void pump(upstream, client, 'to-client');
  });

  async function pump(from: Socket, to: Socket, direction: Direction) {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        for (const slice of slices(chunk)) {
          await passable(direction);
          if (!to.write(slice)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
          if (to.destroyed) return void from.destroy();
          if (bytesPerSecond < Number.POSITIVE_INFINITY) await sleep((1000 * slice.length) / bytesPerSecond);
        }
      }
      await passable(direction);
      to.end();
    } catch {
      await passable(direction).catch(() => {});
      resetSocket(to);
    }
  }

  function slices(chunk: Buffer): Buffer[] {
    const size = Math.max(1, Math.floor(bytesPerSecond / SLICES_PER_SECOND));
    if (size >= chunk.length) return [chunk];
    const count = Math.ceil(chunk.length / size);
    return Array.from({ length: count }, (_, index) => chunk.subarray(index * size, (index + 1) * size));
  }

  async function passable(direction: Direction) {
    while (stalled.has(direction)) await once(resumed, 'resumed', { signal: stopping.signal });
  }

  function resetAll() {
    for (const socket of sockets) resetSocket(socket);
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return clients.size;
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    reset: resetAll,
    stall(direction = 'both') {
      for (const each of ['to-server', 'to-client'] as const) {
        if (direction === 'both' || direction === each) stalled.add(each);
      }
    },
    slow: (limit) => void (bytesPerSecond = limit),
    refuse() {
      refusing = true;
      resetAll();
    },
    resume() {
      stalled.clear();
      bytesPerSecond = Number.POSITIVE_INFINITY;
      refusing = false;
      resumed.emit('resumed');
    },
    async stop() {
      stopping.abort();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
