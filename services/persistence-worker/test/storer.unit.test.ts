import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createLogger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { untraced } from '@fleetwire/runtime/trace-context';
import { type FailureClass, StreamLimitError } from '@fleetwire/store/failure';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DatabaseGate } from '../src/database-gate.ts';
import { createWorkerMetrics } from '../src/metrics.ts';
import { Storer } from '../src/storer.ts';

const logger = await createLogger({ name: 'test', level: 'silent' });
const metrics = createWorkerMetrics(createRegistry());
const never = new AbortController().signal;
const once = { deliveries: [], isLastChance: false };

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

interface DatabaseBehaviour {
  readonly store: (readings: readonly IdentifiedReading[]) => Promise<void>;
  readonly probe?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

function storerOver({ store, probe = async () => {}, signal = never }: DatabaseBehaviour): Storer {
  const classify = (error: unknown) => (error as Refusal).kind;
  const gate = new DatabaseGate({ classify, probe, backoff: { baseMs: 0, capMs: 0 }, logger, signal });
  return new Storer({
    outcomes: {
      store: async (readings) => {
        await store(readings);
        return [];
      },
    },
    classify,
    gate,
    metrics,
    logger,
    tracer: untraced,
    signal,
  });
}

/** A database that refuses transactions with a bad reading in them, after some failures that have nothing to do with the readings. */
function refusing(bad: ReadonlySet<number>, kind: FailureClass, transients: FailureClass[] = []) {
  const stored: number[] = [];
  const tries: number[][] = [];
  const storer = storerOver({
    store: async (readings) => {
      tries.push(readings.map(({ seq }) => seq));
      const transient = transients.pop();
      if (transient !== undefined) throw new Refusal(transient);
      if (readings.some(({ seq }) => bad.has(seq))) throw new Refusal(kind);
      stored.push(...readings.map(({ seq }) => seq));
    },
  });
  return { storer, stored, tries };
}

describe('the storer', () => {
  it('rejects exactly the bad readings and stores all others, through any transient failures', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(200)),
        fc.func(fc.boolean()),
        fc.array(fc.constantFrom<FailureClass>('hold', 'retry-now'), { maxLength: 4 }),
        async (seqs, isBad, transients) => {
          const bad = new Set(seqs.filter((seq) => isBad(seq)));
          const { storer, stored } = refusing(bad, 'bad-data', transients);
          const rejected = await storer.store(seqs.map(reading), once);
          expect(new Set(rejected.map((each) => each.reading.seq))).toEqual(bad);
          expect(stored.toSorted()).toEqual(seqs.filter((seq) => !bad.has(seq)).toSorted());
        },
      ),
    );
  });

  it('does not try readings together again that it knows to contain a bad one', async () => {
    const seqs = Array.from({ length: 64 }, (_, seq) => seq);
    const refusals = async (bad: number) => {
      const { storer, tries } = refusing(new Set([bad]), 'bad-data');
      await storer.store(seqs.map(reading), once);
      return tries.filter((tried) => tried.includes(bad)).length;
    };
    expect(await refusals(63)).toBe(2);
    expect(await refusals(0)).toBe(7);
  });

  it('stores the others together where the error names the refused readings, without searching for them', async () => {
    const batch = Array.from({ length: 64 }, (_, seq) => reading(seq));
    const refused = new Set([batch[3]!, batch[40]!]);
    const tries: number[] = [];
    const storer = storerOver({
      store: async (readings) => {
        tries.push(readings.length);
        if (readings.some((one) => refused.has(one))) throw new StreamLimitError([...refused], 1);
      },
    });
    expect((await storer.store(batch, once)).map((one) => one.reading)).toEqual([...refused]);
    expect(tries).toEqual([64, 62]);
  });

  it('throws an unknown failure and rejects no reading for it, unless it is the last chance', async () => {
    const { storer, stored } = refusing(new Set([2]), 'unknown');
    await expect(storer.store([1, 2, 3].map(reading), once)).rejects.toThrow('unknown');
    expect(await storer.store([1, 2, 3].map(reading), { ...once, isLastChance: true })).toMatchObject([
      { reading: { seq: 2 } },
    ]);
    expect(stored).toEqual([1, 3]);
  });

  it('stops waiting for Postgres when the worker stops', async () => {
    const stopping = new AbortController();
    const unavailable = () => Promise.reject(new Refusal('hold'));
    const storer = storerOver({ store: unavailable, probe: unavailable, signal: stopping.signal });
    const storing = storer.store([reading(1)], once);
    stopping.abort(new Error('stopping'));
    await expect(storing).rejects.toThrow('stopping');
  });
});
