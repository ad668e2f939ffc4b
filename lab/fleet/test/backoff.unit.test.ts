import { expect, it } from 'vitest';
import { backoffMs, reconnectBackoff } from '../backoff.ts';

it('spreads reconnects from nothing to a bound that doubles from 1 s up to 60 s', () => {
  const bounds = [1, 2, 3, 6, 7, 50].map((failures) => backoffMs(reconnectBackoff, failures, 1));
  expect(bounds).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
  expect(backoffMs(reconnectBackoff, 7, 0.25)).toBe(15_000);
  expect(backoffMs(reconnectBackoff, 7, 0)).toBe(0);
});
