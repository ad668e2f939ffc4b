import { expect, it } from 'vitest';
import { SentReadings } from '../src/sent-readings.ts';

it('the identities of one subscription are bounded over all streams; the least recently used are forgotten', () => {
  const sent = new SentReadings();
  const send = (device: number, seq: number) => sent.add({ deviceId: `d-${device}`, epoch: 'e', seq });
  for (let device = 0; device < 100; device += 1) for (let n = 0; n < 1_000; n += 1) send(device, 2 * n);
  expect(sent.rangeCount).toBeLessThanOrEqual(50_000);
  expect(send(99, 0)).toBe(false);
  expect(send(0, 0)).toBe(true);
});
