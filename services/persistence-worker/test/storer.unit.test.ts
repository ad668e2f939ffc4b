import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createLogger } from '@fleetwire/runtime/logger';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DatabaseGate } from '../src/database-gate.ts';
import { trialOf } from '../src/quarantine.ts';
import type { FailureClass } from '@fleetwire/store/failure';
import { createRetryWhileUnavailable } from '../src/retry-while-unavailable.ts';
import { Storer } from '../src/storer.ts';
import { Turns } from '../src/turns.ts';

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
  const classify = (error: unknown) => (error as Refusal).kind;
  const storer = new Storer({
    classify,
    retryWhileUnavailable: createRetryWhileUnavailable({ classify, gate, signal: never }),
    signal: never,
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
          const outcome = await storer.store(seqs.map(reading));
          expect(new Set(outcome.condemned.map((each) => each.reading.seq))).toEqual(bad);
          expect(stored.toSorted()).toEqual(seqs.filter((seq) => !bad.has(seq)).toSorted());
          expect(outcome.stored).toBe(stored.length);
        },
      ),
    );
  });

  it('throws an unknown error with nothing condemned, unless it is the last chance', async () => {
    const { storer } = storerOver({ bad: new Set([2]), kind: 'unknown' });
    await expect(storer.store([1, 2, 3].map(reading))).rejects.toThrow('unknown');
    expect(await storer.store([1, 2, 3].map(reading), { isLastChance: true })).toMatchObject({
      stored: 2,
      condemned: [{ reading: { seq: 2 } }],
    });
  });

  it('stops holding when it is told to stop', async () => {
    const gate = new DatabaseGate({ probe: () => Promise.reject(new Error('away')), baseMs: 1, capMs: 5, logger });
    const stopping = new AbortController();
    const { signal } = stopping;
    const classify = (): FailureClass => 'hold';
    const retryWhileUnavailable = createRetryWhileUnavailable({ classify, gate, signal });
    const write = () => Promise.reject(new Error('away'));
    const storing = new Storer({ write, classify, retryWhileUnavailable, signal }).store([reading(1)]);
    stopping.abort(new Error('stopping'));
    await expect(storing).rejects.toThrow('stopping');
  });
});

describe('a suspect', () => {
  it.each([
    { unfinished: 0, isIsolated: false, trial: 'alone' },
    { unfinished: 1, isIsolated: false, trial: 'alone' },
    { unfinished: 2, isIsolated: false, trial: 'apart' },
    { unfinished: 3, isIsolated: false, trial: 'unread' },
    { unfinished: 0, isIsolated: true, trial: 'alone' },
    { unfinished: 1, isIsolated: true, trial: 'apart' },
    { unfinished: 2, isIsolated: true, trial: 'unread' },
  ])('after $unfinished unfinished trials, isolated: $isIsolated, is tried $trial', ({ trial, ...history }) => {
    expect(trialOf(history)).toBe(trial);
  });
});

describe('a turn alone', () => {
  it('waits for the others to end, and lets none begin meanwhile', async () => {
    const turns = new Turns();
    const events: string[] = [];
    const gate = Promise.withResolvers<void>();
    const work =
      (name: string, until: Promise<unknown> = Promise.resolve()) =>
      async () => {
        events.push(`${name} begins`);
        await until;
        events.push(`${name} ends`);
      };
    const first = turns.share(work('first', gate.promise));
    const alone = Promise.all([turns.alone(work('alone')), turns.alone(work('alone too'))]);
    const second = turns.share(work('second'));
    gate.resolve();
    await Promise.all([first, alone, second]);
    expect(events.join(', ')).toMatch(
      /^first begins, first ends, (alone begins, alone ends, .*|second begins, second ends, alone too begins.*)/,
    );
    const at = (event: string) => events.indexOf(event);
    for (const name of ['alone', 'alone too']) expect(at(`${name} ends`)).toBe(at(`${name} begins`) + 1);
  });
});
