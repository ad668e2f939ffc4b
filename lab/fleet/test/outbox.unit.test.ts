import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Outbox, type OutgoingRun } from '../outbox.ts';

const bounds = { readingsMax: 10, bytesMax: 10_000, inFlightMax: 25 };

function outboxWith(count: number, readingsMax = 1_000): Outbox {
  const outbox = new Outbox({ readingsMax, overflow: 'drop-oldest' });
  for (let seq = 1; seq <= count; seq += 1) outbox.offer(seq, '{}');
  return outbox;
}

function takeAll(outbox: Outbox): OutgoingRun[] {
  const runs: OutgoingRun[] = [];
  for (let run = outbox.take(bounds, 0); run !== undefined; run = outbox.take(bounds, 0)) runs.push(run);
  return runs;
}

const seqsOf = (runs: readonly OutgoingRun[]) => runs.flatMap(({ seq, texts }) => texts.map((_, index) => seq + index));
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

describe('outbox', () => {
  it('sends readings in order, in frames, until the window is full', () => {
    const outbox = outboxWith(40);
    const runs = takeAll(outbox);
    expect(runs.map(({ texts }) => texts.length)).toEqual([10, 10, 5]);
    expect(seqsOf(runs)).toEqual(upTo(25));
  });

  it('continues when an ack opens the window', () => {
    const outbox = outboxWith(40);
    takeAll(outbox);
    expect(outbox.acknowledge(12).map(({ seq }) => seq)).toEqual(upTo(12));
    expect(seqsOf(takeAll(outbox))[0]).toBe(26);
  });

  it('ends a frame before a gap in the numbers, because a frame holds consecutive numbers', () => {
    const outbox = new Outbox({ readingsMax: 100, overflow: 'drop-oldest' });
    for (const seq of [2, 3, 5, 6]) outbox.offer(seq, '{}');
    expect(takeAll(outbox).map(({ seq, texts }) => [seq, texts.length])).toEqual([
      [2, 2],
      [5, 2],
    ]);
  });

  it('ends a frame before it exceeds its size, but sends at least one reading', () => {
    const outbox = new Outbox({ readingsMax: 100, overflow: 'drop-oldest' });
    for (let seq = 1; seq <= 3; seq += 1) outbox.offer(seq, 'x'.repeat(60));
    expect(outbox.take({ ...bounds, bytesMax: 130 }, 0)?.texts.length).toBe(2);
    expect(outbox.take({ ...bounds, bytesMax: 10 }, 0)?.texts.length).toBe(1);
  });

  it('repeats exactly the nacked readings, before any new ones, and counts them as resent', () => {
    const outbox = outboxWith(40);
    takeAll(outbox);
    expect(outbox.repeat(11, 10)).toBe(10);
    outbox.acknowledge(10);
    const [first] = takeAll(outbox);
    expect(first).toMatchObject({ seq: 11, resent: 10 });
    expect(first?.texts).toHaveLength(10);
  });

  it('keeps a nacked reading when an ack covers a higher number', () => {
    const outbox = outboxWith(20);
    takeAll(outbox);
    outbox.repeat(5, 1);
    expect(outbox.acknowledge(20)).toHaveLength(19);
    expect(seqsOf(takeAll(outbox))).toEqual([5]);
  });

  it('resends all unsettled readings after a disconnect', () => {
    const outbox = outboxWith(30);
    takeAll(outbox);
    outbox.acknowledge(7);
    outbox.refuse(9, 1);
    outbox.disconnect();
    const [first] = takeAll(outbox);
    expect(first).toMatchObject({ seq: 8, resent: 1 });
  });

  it('settles by the hello only readings that were sent in an earlier session', () => {
    const outbox = outboxWith(5);
    outbox.take({ ...bounds, readingsMax: 3 }, 0);
    outbox.disconnect();
    expect(outbox.acknowledgeEarlier(5)).toEqual([1, 2, 3]);
    expect(seqsOf(takeAll(outbox))).toEqual([4, 5]);
  });

  it('drops the oldest waiting reading, never one that is in flight', () => {
    const outbox = outboxWith(30, 30);
    takeAll(outbox);
    expect(outbox.offer(31, '{}')).toBe(26);
    for (let seq = 32; seq <= 35; seq += 1) outbox.offer(seq, '{}');
    outbox.acknowledge(25);
    expect(seqsOf(takeAll(outbox))).toEqual([31, 32, 33, 34, 35]);
  });

  it('drops the newest reading when all others are in flight', () => {
    const outbox = outboxWith(5, 5);
    takeAll(outbox);
    expect(outbox.offer(6, '{}')).toBe(6);
    expect(outbox.size).toBe(5);
  });

  it('rejects numbers that do not increase', () => {
    expect(() => outboxWith(3).offer(3, '{}')).toThrow(RangeError);
  });

  it('never exceeds its bound or its window, and settles or drops every reading exactly once, in any sequence of events', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('offer' as const), count: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ kind: fc.constantFrom('take' as const, 'disconnect' as const) }),
      fc.record({
        kind: fc.constantFrom('ack' as const, 'nack' as const, 'refuse' as const),
        at: fc.integer({ min: 0, max: 60 }),
        count: fc.integer({ min: 1, max: 5 }),
      }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.constantFrom('drop-oldest' as const, 'drop-newest' as const),
        (steps, overflow) => {
          const outbox = new Outbox({ readingsMax: 20, overflow });
          const small = { readingsMax: 4, bytesMax: 1_000, inFlightMax: 7 };
          const ended: number[] = [];
          const sent = new Set<number>();
          let next = 1;
          for (const one of steps) {
            if (one.kind === 'offer') {
              for (let n = 0; n < one.count; n += 1, next += 1) {
                const dropped = outbox.offer(next, '{}');
                if (dropped !== undefined) ended.push(dropped);
              }
            } else if (one.kind === 'take') {
              const run = outbox.take(small, 0);
              for (const seq of run === undefined ? [] : seqsOf([run])) sent.add(seq);
            } else if (one.kind === 'ack') {
              const settled = outbox.acknowledge(one.at).map(({ seq }) => seq);
              for (const seq of settled) expect(sent).toContain(seq);
              ended.push(...settled);
            } else if (one.kind === 'nack') outbox.repeat(one.at, one.count);
            else if (one.kind === 'refuse') ended.push(...outbox.refuse(one.at, one.count));
            else outbox.disconnect();
            expect(outbox.size).toBeLessThanOrEqual(20);
            expect(outbox.inFlight).toBeLessThanOrEqual(7);
          }
          ended.push(...outbox.abandon());
          expect(ended.toSorted((a, b) => a - b)).toEqual(upTo(next - 1));
        },
      ),
    );
  });
});
