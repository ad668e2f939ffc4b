import { startOfMinute } from '@fleetwire/contracts/edge-report';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Accounts } from '../src/accounts.ts';

const results = ['accepted', 'rejected', 'nacked', 'unconfirmed'] as const;
const count = fc.record({
  result: fc.constantFrom(...results),
  device: fc.integer({ min: 0, max: 50 }),
  minute: fc.integer({ min: 0, max: 20 }),
  readings: fc.integer({ min: 1, max: 1_000 }),
});

describe('the accounts of an edge', () => {
  it('lose nothing and stay bounded, whatever arrives', () => {
    fc.assert(
      fc.property(fc.array(count), (counts) => {
        const accounts = new Accounts({ devicesMax: 5, minutesMax: 4 });
        for (const { result, device, minute, readings } of counts)
          accounts.count(result, `d-${device}`, startOfMinute(minute), readings);
        const entries = accounts.take();
        expect(entries.length).toBeLessThanOrEqual(4 * (5 + 1));
        for (const result of results) {
          const counted = counts
            .filter((one) => one.result === result)
            .reduce((sum, { readings }) => sum + readings, 0);
          expect(entries.reduce((sum, entry) => sum + entry[result], 0)).toBe(counted);
        }
        expect(accounts.take()).toEqual([]);
      }),
    );
  });

  it('tell devices apart up to the bound, and count the others together', () => {
    const accounts = new Accounts({ devicesMax: 1, minutesMax: 10 });
    accounts.count('accepted', 'a', startOfMinute(7), 2);
    accounts.count('accepted', 'b', startOfMinute(7), 3);
    accounts.count('rejected', 'c', startOfMinute(7), 4);
    accounts.count('nacked', 'a', startOfMinute(8), 5);
    expect(accounts.take()).toEqual([
      { minute: 7, deviceId: 'a', accepted: 2, rejected: 0, nacked: 0, unconfirmed: 0 },
      { minute: 7, accepted: 3, rejected: 4, nacked: 0, unconfirmed: 0 },
      { minute: 8, deviceId: 'a', accepted: 0, rejected: 0, nacked: 5, unconfirmed: 0 },
    ]);
  });
});
