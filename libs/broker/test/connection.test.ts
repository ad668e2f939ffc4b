import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import type { ConnectionState } from '../src/connection.ts';
import { PermanentBrokerError } from '../src/errors.ts';
import { queues } from '../src/topology.ts';
import { brokerHarness, recordingLogger } from './harness.ts';

/** Node's own announcement of client sockets (Node.js documentation, "Diagnostics Channel", net). */
async function socketsOpenedDuring(action: () => Promise<void>): Promise<Socket[]> {
  const sockets: Socket[] = [];
  const note = (message: unknown) => void sockets.push((message as { socket: Socket }).socket);
  subscribe('net.client.socket', note);
  await action();
  unsubscribe('net.client.socket', note);
  return sockets;
}

describe('broker connection', async () => {
  const harness = brokerHarness(await freshVhost());

  it('opens a new connection when the work after opening does not finish in time', async () => {
    let openings = 0;
    const connection = harness.open({
      connectTimeoutMs: 300,
      onOpen: () => ((openings += 1) === 1 ? new Promise<void>(() => {}) : Promise.resolve()),
    });
    await eventually(() => expect(connection.state).toBe('open'));
    expect(openings).toBe(2);
  });

  it('declares the topology before its state becomes open', async () => {
    const connection = harness.open();
    await connection.opened;
    expect(connection).toMatchObject({ state: 'open', generation: 1 });
    const channel = await connection.openChannel();
    expect(await channel.checkQueue(queues.persist)).toMatchObject({ messageCount: 0 });
  });

  it('reconnects after a cut with a new generation, and restores a queue that was deleted in between', async () => {
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy });
    await connection.opened;
    const states: ConnectionState[] = [];
    connection.onStateChange((state) => states.push(state));
    await (await harness.operator()).deleteQueue(queues.persist);

    proxy.cut();
    await eventually(() => expect(connection).toMatchObject({ state: 'open', generation: 2 }));
    expect(states).toEqual(['connecting', 'open']);
    const channel = await connection.openChannel();
    expect(await channel.checkQueue(queues.persist)).toMatchObject({ messageCount: 0 });
  });

  it('waits for a broker that does not run yet, and logs it once', async () => {
    const proxy = await harness.startProxy();
    proxy.refuse();
    const logger = recordingLogger();
    const connection = harness.open({ proxy, logger, reconnectBackoff: { baseMs: 10, capMs: 10 } });
    await eventually(() => expect(logger.lines).toHaveLength(1));
    await sleep(200);
    proxy.resume();
    await connection.opened;
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'broker connection failed, retrying',
      'broker connection open',
    ]);
  });

  it('gives up an attempt when the broker accepts and does not answer, and retries', async () => {
    const proxy = await harness.startProxy();
    proxy.stall();
    const logger = recordingLogger();
    const connection = harness.open({ proxy, logger, connectTimeoutMs: 200 });
    await eventually(() => expect(logger.lines[0]?.fields['reason']).toBe('no connection within 200 ms'));
    proxy.resume();
    await connection.opened;
  });

  it('detects a half-open connection by its heartbeat and destroys the socket', async () => {
    const proxy = await harness.startProxy();
    const sockets = await socketsOpenedDuring(() => harness.open({ proxy, heartbeatSeconds: 1 }).opened);
    const socket = sockets.find(({ remotePort }) => remotePort === proxy.port)!;
    proxy.stall();
    await eventually(() => expect(socket.destroyed).toBe(true));
    proxy.resume();
    await eventually(() => expect(proxy.connections).toBe(1));
  });

  it('reports a refused password as permanent, but keeps retrying', async () => {
    const url = new URL(harness.amqpUrl);
    url.password = 'wrong';
    const connection = harness.open({ url: url.href });
    await expect(connection.opened).rejects.toThrow('ACCESS_REFUSED');
    expect(connection.state).toBe('connecting');
  });

  it('reports that the broker refused the vhost', async () => {
    const url = new URL(harness.amqpUrl);
    url.pathname = '/nowhere';
    const logger = recordingLogger();
    harness.open({ url: url.href, logger });
    await eventually(() => expect(logger.lines[0]?.fields['reason']).toBe('the broker refused the vhost'));
  });

  it('does not report a lost connection as permanent', async () => {
    const proxy = await harness.startProxy();
    proxy.refuse();
    const connection = harness.open({ proxy });
    let verdict: unknown;
    connection.opened.catch((error: unknown) => (verdict = error));
    await connection.close();
    expect(verdict).not.toBeInstanceOf(PermanentBrokerError);
  });

  it('closes while it is still connecting', async () => {
    const proxy = await harness.startProxy();
    proxy.stall();
    const connection = harness.open({ proxy });
    await connection.close();
    expect(connection.state).toBe('closed');
    await expect(connection.opened).rejects.toThrow('was closed');
    await expect(connection.whenOpen()).rejects.toThrow('was closed');
  });

  it('closes in bounded time when the broker does not answer', async () => {
    const proxy = await harness.startProxy();
    const connection = harness.open({ proxy, closeTimeoutMs: 100 });
    await connection.opened;
    proxy.stall();
    await connection.close();
    expect(connection.state).toBe('closed');
  });

  it('stops waiting for the connection when the caller does', async () => {
    const proxy = await harness.startProxy();
    proxy.refuse();
    const connection = harness.open({ proxy });
    await expect(connection.whenOpen(AbortSignal.timeout(20))).rejects.toThrow('timeout');
  });
});
