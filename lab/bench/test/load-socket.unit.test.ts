import { eventually } from '@fleetwire/platform/testing/eventually';
import { once } from 'node:events';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHistogram } from 'node:perf_hooks';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { LoadSocket } from '../load-socket.ts';

/** Greets every socket that it accepts. */
async function server(refusal: () => string | undefined): Promise<{ http: Server; sockets: WebSocketServer }> {
  const sockets = new WebSocketServer({ noServer: true, clientTracking: true });
  const http = createServer();
  http.on('upgrade', (request: IncomingMessage, socket, head) => {
    const status = refusal();
    if (status !== undefined) return socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    sockets.handleUpgrade(request, socket, head, (accepted) => accepted.send('{"type":"hello"}'));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  onTestFinished(() => void http.close());
  return { http, sockets };
}

async function device(http: Server, returnDelayMs: (() => number) | undefined) {
  const onFailure = vi.fn<(error: Error) => void>();
  const socket = new LoadSocket({
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/ws`,
    token: 'token',
    device: 0,
    readingsPerFrame: 1,
    startTs: 0,
    returnDelayMs,
    latency: createHistogram(),
    onAck: () => undefined,
    onFailure,
  });
  await socket.opened();
  return { socket, onFailure };
}

describe('a load socket that the server drops', () => {
  const drop = ({ clients }: WebSocketServer) => clients.forEach((client) => client.terminate());

  it('reconnects after temporary refusals, if it may', async () => {
    const refusals = [undefined, '503 Service Unavailable', undefined];
    const { http, sockets } = await server(() => refusals.shift());
    const { socket, onFailure } = await device(http, () => 10);
    drop(sockets);
    await eventually(() => expect(socket.helloAt).toBeGreaterThan(socket.lostAt ?? Number.POSITIVE_INFINITY));
    expect(socket).toMatchObject({ failures: 1, isRefused: false });
    expect(onFailure).not.toHaveBeenCalled();
    await socket.close();
  });

  it('does not reconnect when it is refused for good', async () => {
    const refusals = [undefined, '401 Unauthorized'];
    const { http, sockets } = await server(() => refusals.shift());
    const { socket } = await device(http, () => 10);
    drop(sockets);
    await eventually(() => expect(socket.isRefused).toBe(true));
    expect(socket.helloAt).toBeLessThan(socket.lostAt ?? 0);
  });

  it('reports a failure if drops are not expected', async () => {
    const { http, sockets } = await server(() => undefined);
    const { onFailure } = await device(http, undefined);
    drop(sockets);
    await eventually(() => expect(onFailure).toHaveBeenCalledOnce());
  });
});
