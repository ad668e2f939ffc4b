import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { createRegistry } from '@fleetwire/runtime/metrics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { createIngestMetrics } from '../src/metrics.ts';
import { Outbound, ackFrame } from '../src/outbound.ts';

// The parser of ws for incoming frames; its types leave it out.
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean }) => Writable };

describe('the frame of an ack', () => {
  it('is read by ws as the same message that ws would have sent', () => {
    const name = fc.option(fc.string({ unit: fc.constantFrom('a', '"', 'é'), maxLength: 80 }), { nil: undefined });
    fc.assert(
      fc.property(fc.nat(), name, name, (upTo, deviceId, epoch) => {
        const ack = {
          type: 'ack' as const,
          upTo,
          ...(deviceId !== undefined && { deviceId }),
          ...(epoch !== undefined && { epoch }),
        };
        const frame = ackFrame(ack);
        fc.pre(frame !== undefined);
        const read: string[] = [];
        const receiver = new Receiver({ isServer: false });
        receiver.on('message', (data: Buffer) => read.push(String(data)));
        receiver.write(frame);
        expect(read).toEqual([JSON.stringify(ack)]);
      }),
    );
  });

  it('exists for every ack of a device on its own stream', () => {
    expect(ackFrame({ type: 'ack', upTo: Number.MAX_SAFE_INTEGER })).toBeDefined();
  });
});

it('a peer that does not read the answers to its subscriptions is terminated', async () => {
  const server = new ws.WebSocketServer({ port: 0 });
  const accepted = new Promise<[ws.WebSocket, Duplex]>((resolve) => {
    server.once('connection', (socket, request) => resolve([socket, request.socket]));
  });
  const client = new ws.WebSocket(`ws://localhost:${(server.address() as AddressInfo).port}`);
  await once(client, 'open');
  client.pause();
  const [socket, raw] = await accepted;
  const outbound = new Outbound(socket, raw, createIngestMetrics(createRegistry()), 1_000_000);
  outbound.allowLive(1_000_000);
  const members = `"text":"${'x'.repeat(100_000)}"`;
  for (let n = 0; n < 500 && outbound.isOpen; n += 1) outbound.writeLive({ type: 'gap', id: 's', members });
  expect(outbound.isOpen).toBe(false);
  client.terminate();
  server.close();
});
