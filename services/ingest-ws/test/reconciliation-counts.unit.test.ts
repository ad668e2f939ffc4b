import { startOfMinute } from '@fleetwire/contracts/edge-report';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReconciliationCounts } from '../src/reconciliation-counts.ts';

const outcomes = ['accepted', 'rejected', 'nacked', 'unconfirmed'] as const;
const count = fc.record({
  outcome: fc.constantFrom(...outcomes),
  device: fc.integer({ min: 0, max: 50 }),
  minute: fc.integer({ min: 0, max: 20 }),
  readings: fc.integer({ min: 1, max: 1_000 }),
});

describe('the reconciliation counts of an edge', () => {
  it('lose no reading and stay within their bounds, whatever arrives', () => {
    fc.assert(
      fc.property(fc.array(count), (counts) => {
        const reconciliation = new ReconciliationCounts({ devicesMax: 5, minutesMax: 4 });
        for (const { outcome, device, minute, readings } of counts)
          reconciliation.add(outcome, `d-${device}`, startOfMinute(minute), readings);
        const entries = reconciliation.drain();
        expect(entries.length).toBeLessThanOrEqual(4 * (5 + 1));
        for (const outcome of outcomes) {
          const counted = counts
            .filter((one) => one.outcome === outcome)
            .reduce((sum, { readings }) => sum + readings, 0);
          expect(entries.reduce((sum, entry) => sum + entry[outcome], 0)).toBe(counted);
        }
        expect(reconciliation.drain()).toEqual([]);
      }),
    );
  });

  it('keep an entry for each device up to the bound, and count the other devices together', () => {
    const reconciliation = new ReconciliationCounts({ devicesMax: 1, minutesMax: 10 });
    reconciliation.add('accepted', 'a', startOfMinute(7), 2);
    reconciliation.add('accepted', 'b', startOfMinute(7), 3);
    reconciliation.add('rejected', 'c', startOfMinute(7), 4);
    reconciliation.add('nacked', 'a', startOfMinute(8), 5);
    expect(reconciliation.drain()).toEqual([
      { minute: 7, deviceId: 'a', accepted: 2, rejected: 0, nacked: 0, unconfirmed: 0 },
      { minute: 7, accepted: 3, rejected: 4, nacked: 0, unconfirmed: 0 },
      { minute: 8, deviceId: 'a', accepted: 0, rejected: 0, nacked: 5, unconfirmed: 0 },
    ]);
  });
});
