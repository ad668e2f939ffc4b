import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullJitterMs, settledWithin } from '../src/backoff.ts';

describe('full jitter', () => {
  it('stays between nothing and the cap for any attempt', () => {
    fc.assert(
      fc.property(fc.nat(5_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const pauseMs = fullJitterMs(attempt, { baseMs: 100, capMs: 8_000 }, () => random);
        expect(pauseMs).toBeGreaterThanOrEqual(0);
        expect(pauseMs).toBeLessThanOrEqual(8_000);
      }),
    );
  });

  it('doubles its ceiling with each attempt', () => {
    const ceilings = [0, 1, 2, 3, 4].map((attempt) => fullJitterMs(attempt, { baseMs: 100, capMs: 1_000 }, () => 1));
    expect(ceilings).toEqual([100, 200, 400, 800, 1_000]);
  });
});

describe('settledWithin', () => {
  it('tells work that ended, even badly, from work that did not', async () => {
    expect(await settledWithin(Promise.reject(new Error('over')), 1_000)).toBe(true);
    expect(await settledWithin(new Promise(() => {}), 10)).toBe(false);
  });
});
