import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, deviceReconnectBackoff } from '../src/backoff.ts';

describe('backoff', () => {
  it('stays between 0 and the cap after any number of failures', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, random) => {
          const delayMs = backoffMs({ baseMs: 100, capMs: 8_000 }, failures, random);
          expect(delayMs).toBeGreaterThanOrEqual(0);
          expect(delayMs).toBeLessThanOrEqual(8_000);
        },
      ),
    );
  });

  it('doubles its ceiling with each failure', () => {
    const ceilings = [1, 2, 3, 4, 5].map((failures) => backoffMs({ baseMs: 100, capMs: 1_000 }, failures, 1));
    expect(ceilings).toEqual([100, 200, 400, 800, 1_000]);
  });

  it('spreads the reconnects of devices over a range that doubles from 1 s up to 60 s', () => {
    const ceilings = [1, 2, 3, 6, 7, 50].map((failures) => backoffMs(deviceReconnectBackoff, failures, 1));
    expect(ceilings).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    expect(backoffMs(deviceReconnectBackoff, 7, 0.25)).toBe(15_000);
    expect(backoffMs(deviceReconnectBackoff, 7, 0)).toBe(0);
  });
});
