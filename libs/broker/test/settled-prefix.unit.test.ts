import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSettledPrefix, type Settlement } from '../src/settled-prefix.ts';

/** Deliveries 1 to n with their settlements, in the order in which the handlers finish. */
const history = fc
  .array(fc.constantFrom<Settlement>('ack', 'ack', 'ack', 'requeue'), { minLength: 1, maxLength: 60 })
  .chain((outcomes) => {
    const settlements = outcomes.map((settlement, index) => ({ tag: index + 1, settlement }));
    return fc.shuffledSubarray(settlements, { minLength: 0, maxLength: settlements.length });
  });

describe('settled prefix', () => {
  it('acknowledges exactly the messages that are done, never beyond a gap, and never a requeued tag', () => {
    fc.assert(
      fc.property(history, fc.infiniteStream(fc.boolean()), (settlements, flushes) => {
        const prefix = createSettledPrefix();
        const outcomes = new Map<number, Settlement>();
        /** What the broker still holds as unacknowledged. */
        const acknowledged = new Set<number>();
        const flush = () => {
          const ack = prefix.takeAck();
          if (ack === undefined) return;
          expect(outcomes.get(ack.upTo)).toBe('ack');
          expect(acknowledged.has(ack.upTo)).toBe(false);
          let covered = 0;
          for (let tag = 1; tag <= ack.upTo; tag += 1) {
            expect(outcomes.has(tag)).toBe(true);
            if (outcomes.get(tag) === 'ack' && !acknowledged.has(tag)) {
              acknowledged.add(tag);
              covered += 1;
            }
          }
          expect(ack.messages).toBe(covered);
        };
        for (const { tag, settlement } of settlements) {
          outcomes.set(tag, settlement);
          prefix.settle(tag, settlement);
          if (flushes.next().value) flush();
        }
        flush();
        for (let tag = 1; outcomes.has(tag); tag += 1) {
          expect(acknowledged.has(tag)).toBe(outcomes.get(tag) === 'ack');
        }
        expect(prefix.takeAck()).toBeUndefined();
      }),
    );
  });

  it('covers a run of any order with one acknowledgement', () => {
    const prefix = createSettledPrefix();
    for (const tag of [3, 1, 4, 2]) prefix.settle(tag, 'ack');
    expect(prefix.takeAck()).toEqual({ upTo: 4, messages: 4 });
  });

  it('ends an acknowledgement before a trailing requeue', () => {
    const prefix = createSettledPrefix();
    prefix.settle(1, 'ack');
    prefix.settle(2, 'requeue');
    expect(prefix.takeAck()).toEqual({ upTo: 1, messages: 1 });
  });
});
