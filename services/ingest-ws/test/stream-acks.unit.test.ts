import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AckRange, StreamAcks } from '../src/stream-acks.ts';

describe('cumulative acks', () => {
  it('cover everything that was settled in order', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 20);
    acks.settle(first);
    expect(acks.nextAck()).toBe(20);
    expect(acks.nextAck()).toBeUndefined();
  });

  it('wait for earlier readings that are still in flight', () => {
    const acks = new StreamAcks();
    const [first, second] = [acks.begin(1, 1), acks.begin(2, 2)];
    acks.settle(second);
    expect(acks.nextAck()).toBeUndefined();
    acks.settle(first);
    expect(acks.nextAck()).toBe(2);
  });

  it('stay below a pending resend until it has come, even in parts', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 4));
    acks.awaitResend(acks.begin(5, 6));
    acks.settle(acks.begin(7, 9));
    expect(acks.nextAck()).toBe(4);
    acks.settle(acks.begin(5, 5));
    expect(acks.nextAck()).toBe(5);
    acks.settle(acks.begin(6, 6));
    expect(acks.nextAck()).toBe(9);
  });

  it('are not held back by a nack of acked readings, which no device sends again', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 6));
    expect(acks.nextAck()).toBe(6);
    acks.awaitResend(acks.begin(2, 4));
    acks.settle(acks.begin(7, 7));
    expect(acks.nextAck()).toBe(7);
    acks.awaitResend(acks.begin(6, 9));
    expect(acks.upTo).toBe(7);
  });

  it('are not held back by a nack of readings that an earlier session settled', () => {
    const acks = new StreamAcks(7);
    acks.awaitResend(acks.begin(4, 5));
    acks.settle(acks.begin(7, 8));
    expect(acks.nextAck()).toBe(8);
  });

  it('are repeated when a device sends acked readings again because the ack was lost', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(1, 3));
    expect(acks.nextAck()).toBe(3);
    acks.settle(acks.begin(2, 2));
    expect(acks.nextAck()).toBe(3);
  });

  it('give no lastSeq across numbers that this instance never received', () => {
    const acks = new StreamAcks(6);
    acks.settle(acks.begin(100, 100));
    expect(acks.upTo).toBe(100);
    expect(acks.gaplessUpTo).toBeUndefined();
  });

  it('give no lastSeq of a stream whose first numbers this instance has never seen', () => {
    const acks = new StreamAcks();
    acks.settle(acks.begin(100, 150));
    expect(acks.upTo).toBe(150);
    expect(acks.gaplessUpTo).toBeUndefined();
  });

  it('give a lastSeq below the first rejected reading, whose nack may have been lost with the socket', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 5);
    acks.noteRejected(first, 4);
    acks.settle(first);
    expect(acks.nextAck()).toBe(5);
    expect(acks.gaplessUpTo).toBe(3);
    acks.settle(acks.begin(6, 9));
    expect(acks.gaplessUpTo).toBe(3);
  });

  it('do not wait for a rejected reading while its neighbours are to be sent again', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 5);
    acks.noteRejected(first, 3);
    acks.awaitResend(first);
    expect(acks.upTo).toBeUndefined();
    acks.settle(acks.begin(1, 2));
    expect(acks.upTo).toBe(3);
    acks.settle(acks.begin(4, 5));
    expect(acks.upTo).toBe(5);
  });

  it('give no lastSeq when the first reading was rejected', () => {
    const acks = new StreamAcks();
    const first = acks.begin(1, 2);
    acks.noteRejected(first, 1);
    acks.settle(first);
    expect(acks.gaplessUpTo).toBeUndefined();
  });

  it('never cover an unsettled reading, and in the end cover every reading, over any history', () => {
    const step = fc.record({
      kind: fc.constantFrom('send', 'send', 'settle', 'nack', 'resend', 'ack'),
      pick: fc.nat(),
      size: fc.integer({ min: 1, max: 4 }),
      skip: fc.nat({ max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (history) => {
        const acks = new StreamAcks();
        const inFlight: AckRange[] = [];
        const missing = new Map<number, 'in-flight' | 'pending-resend'>();
        let next = 1;
        const send = (first: number, last: number): void => {
          for (let seq = first; seq <= last; seq += 1) missing.set(seq, 'in-flight');
          inFlight.push(acks.begin(first, last));
        };
        const finish = (range: AckRange | undefined, isTaken: boolean): void => {
          if (range === undefined) return;
          for (let seq = range.first; seq <= range.last; seq += 1) {
            if (isTaken) missing.delete(seq);
            else missing.set(seq, 'pending-resend');
          }
          if (isTaken) acks.settle(range);
          else acks.awaitResend(range);
        };
        const resendFirst = (): void => {
          const pending = [...missing].filter(([, state]) => state === 'pending-resend').map(([seq]) => seq);
          if (pending.length > 0) send(Math.min(...pending), Math.min(...pending));
        };
        for (const { kind, pick, size, skip } of history) {
          if (kind === 'send') {
            send(next + skip, next + skip + size - 1);
            next += skip + size;
          } else if (kind === 'settle' || kind === 'nack')
            finish(inFlight.splice(pick % Math.max(1, inFlight.length), 1)[0], kind === 'settle');
          else if (kind === 'resend') resendFirst();
          else {
            const upTo = acks.nextAck();
            if (upTo !== undefined) expect([...missing.keys()].filter((seq) => seq <= upTo)).toEqual([]);
          }
        }
        while (inFlight.length > 0) finish(inFlight.pop(), true);
        while (missing.size > 0) {
          resendFirst();
          finish(inFlight.pop(), true);
        }
        expect(acks.isIdle).toBe(true);
        if (next > 1) expect(acks.upTo).toBe(next - 1);
      }),
      { numRuns: 3_000 },
    );
  });
});
