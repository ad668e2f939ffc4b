import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../src/testing/eventually.ts';
import { startFaultProxy, type FaultProxy } from '../src/faults/fault-proxy.ts';

const SILENCE_MS = 150;

let proxy: FaultProxy;
let atServer: { socket: Socket; received: string; ended: boolean }[];
let cleanUp: AsyncDisposableStack;

beforeEach(async () => {
  cleanUp = new AsyncDisposableStack();
  atServer = [];
  const server = createServer((socket) => {
    const seen = { socket, received: '', ended: false };
    atServer.push(seen);
    socket.on('data', (chunk) => (seen.received += String(chunk)));
    socket.on('end', () => (seen.ended = true));
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.defer(() => {
    server.close();
    for (const { socket } of atServer) socket.destroy();
  });
  proxy = await startFaultProxy({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  cleanUp.defer(() => proxy.stop());
});

afterEach(() => cleanUp.disposeAsync());

function client() {
  const socket = connect(proxy.port, '127.0.0.1');
  const seen = { socket, received: '', ended: false, error: undefined as Error | undefined };
  socket.on('data', (chunk) => (seen.received += String(chunk)));
  socket.on('end', () => (seen.ended = true));
  socket.on('error', (error) => (seen.error = error));
  cleanUp.defer(() => void socket.destroy());
  return seen;
}

async function connectedPair() {
  const near = client();
  await eventually(() => expect(atServer).toHaveLength(1));
  return { near, far: atServer[0]! };
}

/** Nothing can be awaited where nothing is to happen. */
const silence = () => sleep(SILENCE_MS);

describe('fault proxy', () => {
  it('passes bytes and the end of a connection both ways', async () => {
    const { near, far } = await connectedPair();
    near.socket.write('ping');
    await eventually(() => expect(far.received).toBe('ping'));
    far.socket.write('pong');
    await eventually(() => expect(near.received).toBe('pong'));
    near.socket.end();
    await eventually(() => expect(far.ended && near.ended).toBe(true));
  });

  it('closes open connections and passes new ones', async () => {
    const { near, far } = await connectedPair();
    proxy.cut();
    await eventually(() => expect(near.ended && far.ended).toBe(true));
    expect(near.error).toBeUndefined();
    const next = client();
    next.socket.write('again');
    await eventually(() => expect(atServer[1]?.received).toBe('again'));
  });

  it('resets open connections', async () => {
    const { near } = await connectedPair();
    proxy.reset();
    await eventually(() => expect(near.error).toMatchObject({ code: 'ECONNRESET' }));
  });

  it('refuses connections until it resumes', async () => {
    proxy.refuse();
    const refused = client();
    await eventually(() => expect(refused.error ?? refused.ended).toBeTruthy());
    proxy.resume();
    await connectedPair();
  });

  it('stalls one direction and not the other', async () => {
    const { near, far } = await connectedPair();
    proxy.stall('to-client');
    near.socket.write('ping');
    far.socket.write('pong');
    await eventually(() => expect(far.received).toBe('ping'));
    await silence();
    expect(near.received).toBe('');
    proxy.resume();
    await eventually(() => expect(near.received).toBe('pong'));
  });

  it('hides the end of a connection while stalled, which leaves the other side half-open', async () => {
    const { near, far } = await connectedPair();
    proxy.stall();
    far.socket.destroy();
    await silence();
    expect(near.ended).toBe(false);
    proxy.resume();
    await eventually(() => expect(near.ended).toBe(true));
  });

  it('accepts new connections while stalled, and sends them nothing', async () => {
    proxy.stall();
    const near = client();
    near.socket.write('ping');
    await silence();
    expect(atServer[0]?.received ?? '').toBe('');
    proxy.resume();
    await eventually(() => expect(atServer[0]?.received).toBe('ping'));
  });

  it('slows a transfer to the given rate', async () => {
    const { near, far } = await connectedPair();
    proxy.slow(100_000);
    const startedAt = performance.now();
    near.socket.write('x'.repeat(50_000));
    await eventually(() => expect(far.received).toHaveLength(50_000));
    expect(performance.now() - startedAt).toBeGreaterThan(400);
  });
});
