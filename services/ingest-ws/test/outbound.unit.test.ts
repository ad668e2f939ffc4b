import type { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { ackFrame } from '../src/outbound.ts';

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
