import { expect, it } from 'vitest';
import { BrokerOutage } from '../src/broker-outage.ts';

it('the delay before a resend grows with the outage from 1 to 60 seconds, with full jitter, and starts again after it', () => {
  const outage = new BrokerOutage();
  const range = (now: number) => [outage.retryAfterMs(now, 0), outage.retryAfterMs(now, 1)];
  expect(range(5_000)).toEqual([1_000, 2_000]);
  expect(range(10_000)).toEqual([1_000, 5_000]);
  expect(range(25_000)).toEqual([1_000, 20_000]);
  expect(range(600_000)).toEqual([1_000, 60_000]);
  outage.end();
  expect(range(600_000)).toEqual([1_000, 2_000]);
});
