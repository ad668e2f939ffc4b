import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Passage, StreamAcks } from '../src/stream-acks.ts';

describe('cumulative acks', () => {
  it('say the last of what was settled in order', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 20);
    acks.settle(first);
    expect(acks.takeAck()).toBe(20);
    expect(acks.takeAck()).toBeUndefined();
  });

  it('wait for what came earlier and is still on its way', () => {
    const acks = new StreamAcks();
    const [first, second] = [acks.begin(1, 1), acks.begin(2, 2)];
    acks.settle(second);
    expect(acks.takeAck()).toBeUndefined();
    acks.settle(first);
    expect(acks.takeAck()).toBe(2);
  });

  it('stop below a hole until it is filled, even piece by piece', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 4));
    acks.leaveHole(acks.begin(5, 6));
    acks.settle(acks.begin(7, 9));
    expect(acks.takeAck()).toBe(4);
    acks.settle(acks.begin(5, 5));
    expect(acks.takeAck()).toBe(5);
    acks.settle(acks.begin(6, 6));
    expect(acks.takeAck()).toBe(9);
  });

  it('are not held back by a nack of what was acked already: no device sends that again', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 6));
    expect(acks.takeAck()).toBe(6);
    acks.leaveHole(acks.begin(2, 4));
    acks.settle(acks.begin(7, 7));
    expect(acks.takeAck()).toBe(7);
    acks.leaveHole(acks.begin(6, 9));
    expect(acks.upTo).toBe(7);
  });

  it('are not held back by a nack of what an earlier session settled', () => {
    const acks = new StreamAcks(7);
    acks.leaveHole(acks.begin(4, 5));
    acks.settle(acks.begin(7, 8));
    expect(acks.takeAck()).toBe(8);
  });

  it('are repeated for what a device sends again after its ack was lost', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 3));
    expect(acks.takeAck()).toBe(3);
    acks.settle(acks.begin(2, 2));
    expect(acks.takeAck()).toBe(3);
  });

  it('offer no lastSeq across numbers that this instance never saw', () => {
    const acks = new StreamAcks(6);
    acks.settle(acks.begin(100, 100));
    expect(acks.upTo).toBe(100);
    expect(acks.gaplessUpTo).toBeUndefined();
  });

  it('passes nothing on to a later session from a refused reading on: its nack may have been lost with the socket', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 5);
    acks.noteRefused(first, 4);
    acks.settle(first);
    expect(acks.takeAck()).toBe(5);
    expect(acks.gaplessUpTo).toBe(3);
    acks.settle(acks.begin(6, 9));
    expect(acks.gaplessUpTo).toBe(3);
  });

  it('waits for no refused reading, though its neighbours are to be sent again', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 5);
    acks.noteRefused(first, 3);
    acks.leaveHole(first);
    expect(acks.upTo).toBeUndefined();
    acks.settle(acks.begin(1, 2));
    expect(acks.upTo).toBe(3);
    acks.settle(acks.begin(4, 5));
    expect(acks.upTo).toBe(5);
  });

  it('passes nothing on at all where the first reading was refused', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 2);
    acks.noteRefused(first, 1);
    acks.settle(first);
    expect(acks.gaplessUpTo).toBeUndefined();
  });

  it('never claim an unsettled reading, over any history, and end by claiming everything', () => {
    const step = fc.record({
      kind: fc.constantFrom('send', 'send', 'settle', 'nack', 'resend', 'ack'),
      pick: fc.nat(),
      size: fc.integer({ min: 1, max: 4 }),
      skip: fc.nat({ max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (history) => {
        const acks = new StreamAcks();
        const underWay: Passage[] = [];
        const missing = new Map<number, 'under-way' | 'hole'>();
        let next = 1;
        const send = (first: number, last: number): void => {
          for (let seq = first; seq <= last; seq += 1) missing.set(seq, 'under-way');
          underWay.push(acks.begin(first, last));
        };
        const finish = (passage: Passage | undefined, isTaken: boolean): void => {
          if (passage === undefined) return;
          for (let seq = passage.first; seq <= passage.last; seq += 1) {
            if (isTaken) missing.delete(seq);
            else missing.set(seq, 'hole');
          }
          if (isTaken) acks.settle(passage);
          else acks.leaveHole(passage);
        };
        const resendFirstHole = (): void => {
          const hole = [...missing].filter(([, state]) => state === 'hole').map(([seq]) => seq);
          if (hole.length > 0) send(Math.min(...hole), Math.min(...hole));
        };
        for (const { kind, pick, size, skip } of history) {
          if (kind === 'send') {
            send(next + skip, next + skip + size - 1);
            next += skip + size;
          } else if (kind === 'settle' || kind === 'nack')
            finish(underWay.splice(pick % Math.max(1, underWay.length), 1)[0], kind === 'settle');
          else if (kind === 'resend') resendFirstHole();
          else {
            const upTo = acks.takeAck();
            if (upTo !== undefined) expect([...missing.keys()].filter((seq) => seq <= upTo)).toEqual([]);
          }
        }
        while (underWay.length > 0) finish(underWay.pop(), true);
        while (missing.size > 0) {
          resendFirstHole();
          finish(underWay.pop(), true);
        }
        expect(acks.isIdle).toBe(true);
        if (next > 1) expect(acks.upTo).toBe(next - 1);
      }),
      { numRuns: 3_000 },
    );
  });
});
