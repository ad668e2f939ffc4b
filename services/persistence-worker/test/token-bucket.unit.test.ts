import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../src/replays/token-bucket.ts';

describe('a token bucket', () => {
  it('never gives more tokens than its burst and its rate, whatever the pauses', () => {
    const pauses = fc.array(fc.integer({ min: 0, max: 2_000 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 50 }), pauses, (rate, burst, rests) => {
        const bucket = new TokenBucket({ ratePerSecond: rate, burst }, 0);
        let now = 0;
        for (const [index, rest] of rests.entries()) {
          now += rest;
          now += bucket.take(now);
          expect(index + 1).toBeLessThanOrEqual(burst + (now * rate) / 1_000 + 1e-6);
        }
      }),
    );
  });

  it('lets a caller that is slower than its rate pass without waiting', () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 1 }, 0);
    expect([0, 150, 300].map((now) => bucket.take(now))).toEqual([0, 0, 0]);
    expect(bucket.take(300)).toBeGreaterThan(0);
  });
});
