import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createLogger } from '@fleetwire/service-kit/logger';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DatabaseGate } from '../src/database-gate.ts';
import { handlingOf } from '../src/quarantine.ts';
import type { FailureClass } from '../src/patiently.ts';
import { Storer } from '../src/storer.ts';

const logger = await createLogger({ name: 'test', level: 'silent' });
const never = new AbortController().signal;

class Refusal extends Error {
  readonly kind: FailureClass;

  constructor(kind: FailureClass) {
    super(kind);
    this.kind = kind;
  }
}

function reading(seq: number): IdentifiedReading {
  return { deviceId: 'd', epoch: 'e', seq, ts: seq, receivedAt: seq, metrics: { seq } };
}

/** A store that refuses batches with a bad seq in them, and fails transiently as told. */
function storerOver({
  bad,
  kind,
  transients = [],
}: {
  bad: Set<number>;
  kind: FailureClass;
  transients?: FailureClass[];
}) {
  const stored: number[] = [];
  const gate = new DatabaseGate({ probe: async () => {}, baseMs: 0, capMs: 0, logger });
  const storer = new Storer({
    gate,
    classify: (error) => (error as Refusal).kind,
    write: async (readings) => {
      const transient = transients.pop();
      if (transient !== undefined) throw new Refusal(transient);
      if (readings.some(({ seq }) => bad.has(seq))) throw new Refusal(kind);
      stored.push(...readings.map(({ seq }) => seq));
      return { stored: readings.length, duplicates: 0 };
    },
  });
  return { storer, stored };
}

describe('storing', () => {
  it('condemns exactly the bad readings and stores exactly the others, through any transient failures', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(200)),
        fc.func(fc.boolean()),
        fc.array(fc.constantFrom<FailureClass>('hold', 'retry-now'), { maxLength: 4 }),
        async (seqs, isBad, transients) => {
          const bad = new Set(seqs.filter((seq) => isBad(seq)));
          const { storer, stored } = storerOver({ bad, kind: 'bad-data', transients });
          const outcome = await storer.store(seqs.map(reading), never);
          expect(new Set(outcome.condemned.map((each) => each.reading.seq))).toEqual(bad);
          expect(stored.toSorted()).toEqual(seqs.filter((seq) => !bad.has(seq)).toSorted());
          expect(outcome.stored).toBe(stored.length);
        },
      ),
    );
  });

  it('throws an unknown error with nothing condemned, unless it is the last chance', async () => {
    const { storer } = storerOver({ bad: new Set([2]), kind: 'unknown' });
    await expect(storer.store([1, 2, 3].map(reading), never)).rejects.toThrow('unknown');
    expect(await storer.store([1, 2, 3].map(reading), never, { isLastChance: true })).toMatchObject({
      stored: 2,
      condemned: [{ reading: { seq: 2 } }],
    });
  });

  it('stops holding when it is told to stop', async () => {
    const gate = new DatabaseGate({ probe: () => Promise.reject(new Error('away')), baseMs: 1, capMs: 5, logger });
    const stopping = new AbortController();
    const storer = new Storer({ gate, classify: () => 'hold', write: () => Promise.reject(new Error('away')) });
    const storing = storer.store([reading(1)], stopping.signal);
    stopping.abort(new Error('stopping'));
    await expect(storing).rejects.toThrow('stopping');
  });
});

describe('a suspect', () => {
  it.each([
    { deliveryCount: 2, readings: 9, isIsolated: false, handling: 'in-company' },
    { deliveryCount: 3, readings: 9, isIsolated: false, handling: 'alone' },
    { deliveryCount: 4, readings: 9, isIsolated: false, handling: 'in-halves' },
    { deliveryCount: 4, readings: 1, isIsolated: false, handling: 'dead-letter' },
    { deliveryCount: 0, readings: 4, isIsolated: true, handling: 'alone' },
    { deliveryCount: 1, readings: 4, isIsolated: true, handling: 'in-halves' },
    { deliveryCount: 1, readings: 1, isIsolated: true, handling: 'dead-letter' },
  ])(
    'delivered $deliveryCount times before, with $readings readings, isolated: $isIsolated, is handled $handling',
    ({ handling, ...message }) => {
      expect(handlingOf(message)).toBe(handling);
    },
  );
});
