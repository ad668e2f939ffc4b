import { expect, test } from 'vitest';
import { readingsIn, slopeOf } from '../bench/measures.ts';

test('readings are counted in every message that carries some', () => {
  const readings = [{ deviceId: 'a' }, { deviceId: 'b' }];
  expect(readingsIn(JSON.stringify({ type: 'data_update', id: 'd1', phase: 'live', readings }))).toBe(2);
  expect(readingsIn(JSON.stringify({ type: 'presence', id: 'd1', deviceId: 'a' }))).toBe(0);
});

test('the slope of a noisy line is that of the line', () => {
  const noise = [0.2, -0.1, -0.1, 0, 0.1, -0.1];
  expect(slopeOf(noise.map((off, hour) => [hour, 50 + 2 * hour + off]))).toBeCloseTo(2, 1);
  expect(slopeOf([0, 1, 2].map((hour) => [hour, 7]))).toBe(0);
});
