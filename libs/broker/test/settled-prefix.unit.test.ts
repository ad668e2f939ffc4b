import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSettledPrefix, type Verdict } from '../src/settled-prefix.ts';

/** Deliveries 1 to n with their verdicts, in the order in which the handlers finish. */
const history = fc
  .array(fc.constantFrom<Verdict>('done', 'done', 'done', 'requeue'), { minLength: 1, maxLength: 60 })
  .chain((verdicts) => {
    const settlements = verdicts.map((verdict, index) => ({ tag: index + 1, verdict }));
    return fc.shuffledSubarray(settlements, { minLength: 0, maxLength: settlements.length });
  });

describe('settled prefix', () => {
  it('acknowledges exactly the messages that are done, never beyond a gap, and never a requeued tag', () => {
    fc.assert(
      fc.property(history, fc.infiniteStream(fc.boolean()), (settlements, flushes) => {
        const prefix = createSettledPrefix();
        const verdicts = new Map<number, Verdict>();
        /** What the broker still holds as unacknowledged. */
        const acknowledged = new Set<number>();
        const flush = () => {
          const ack = prefix.takeAck();
          if (ack === undefined) return;
          expect(verdicts.get(ack.upTo)).toBe('done');
          expect(acknowledged.has(ack.upTo)).toBe(false);
          let covered = 0;
          for (let tag = 1; tag <= ack.upTo; tag += 1) {
            expect(verdicts.has(tag)).toBe(true);
            if (verdicts.get(tag) === 'done' && !acknowledged.has(tag)) {
              acknowledged.add(tag);
              covered += 1;
            }
          }
          expect(ack.messages).toBe(covered);
        };
        for (const { tag, verdict } of settlements) {
          verdicts.set(tag, verdict);
          prefix.settle(tag, verdict);
          if (flushes.next().value) flush();
        }
        flush();
        for (let tag = 1; verdicts.has(tag); tag += 1) {
          expect(acknowledged.has(tag)).toBe(verdicts.get(tag) === 'done');
        }
        expect(prefix.takeAck()).toBeUndefined();
      }),
    );
  });

  it('covers a run of any order with one acknowledgement', () => {
    const prefix = createSettledPrefix();
    for (const tag of [3, 1, 4, 2]) prefix.settle(tag, 'done');
    expect(prefix.takeAck()).toEqual({ upTo: 4, messages: 4 });
  });

  it('ends an acknowledgement before a trailing requeue', () => {
    const prefix = createSettledPrefix();
    prefix.settle(1, 'done');
    prefix.settle(2, 'requeue');
    expect(prefix.takeAck()).toEqual({ upTo: 1, messages: 1 });
  });
});
