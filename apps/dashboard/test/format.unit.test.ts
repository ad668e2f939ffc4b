import { describe, expect, test } from 'vitest';
import {
  bytes,
  count,
  duration,
  headlineCount,
  interval,
  metricValue,
  percentage,
  plural,
  rate,
  roughDuration,
} from '../src/format.ts';

const en = 'en-GB';
const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('durations have at most two units', () => {
  test.each([
    [0, '0.0 s'],
    [400, '0.4 s'],
    [5_000, '5 s'],
    [79_000, '1 min 19 s'],
    [23 * 60_000 + 4_000, '23 min 4 s'],
    [60_000, '1 min'],
    [3 * 86_400_000 + 4 * 3_600_000 + 59_000, '3 d 4 h'],
    [59_999, '1 min'],
  ])('%d ms is %s', (ms, text) => {
    expect(plain(duration(ms))).toBe(text);
  });
});

test('a duration has the decimal sign of the viewer, and small values too', () => {
  expect(plain(duration(400, 'de-DE'))).toBe('0,4 s');
  expect(metricValue(-0.001_234, 2, 'de-DE')).toBe('−0,00123');
});

test.each([
  [3_000, 'about 5 s'],
  [110_000, 'about 2 min'],
  [3_600_000, 'about 1 h'],
  [5 * 86_400_000, 'about 5 days'],
])('%d ms is roughly %s', (ms, text) => {
  expect(plain(roughDuration(ms))).toBe(text);
});

test.each([
  [0, '0'],
  [0.2, '0.2'],
  [1, '1.0'],
  [9.96, '10'],
  [896.4, '896'],
  [1_540, '1,540'],
])('a rate of %d is written %s', (value, text) => {
  expect(rate(value, en)).toBe(text);
});

test.each([
  [1, '100.00'],
  [0.99997, '99.99'],
  [0.9996, '99.96'],
  [0.99996, '99.99'],
  [0.999951, '99.99'],
  [0.9991, '99.91'],
  [0.57, '57.00'],
  [0.29, '29.00'],
  [0.9999999, '99.99'],
  [0, '0.00'],
])('a share of %d is %s %%: 100.00 only where nothing is missing', (share, text) => {
  expect(percentage(share, en)).toBe(text);
});

test('a share of which something is missing is never 100.00 %, and never more than it is, however large the fleet', () => {
  for (const expected of [3, 60, 1_000, 2_500, 10_000, 99_999, 86_400_000])
    for (const missing of [1, 2, Math.ceil(expected * 0.0004), Math.ceil(expected / 3)]) {
      const text = percentage((expected - missing) / expected, en);
      expect(Number(text), `${missing} of ${expected}`).toBeLessThan(100);
      expect(Number(text)).toBeLessThanOrEqual(((expected - missing) / expected) * 100 + 1e-9);
      expect(Number(text)).toBeGreaterThan(((expected - missing) / expected) * 100 - 0.0101);
    }
});

test.each([
  [99_999, '99,999', ''],
  [3_228_417, '3.23', 'million'],
  [309_020, '309', 'thousand'],
])('%d in a headline is %s %s', (value, text, unit) => {
  expect(headlineCount(value, en)).toEqual({ value: text, unit });
});

test('numbers have a true minus sign, and values of metrics the decimals of their series', () => {
  expect(metricValue(-18.123, 1, en)).toBe('−18.1');
  expect(metricValue(0.000_012, 2, en)).toBe('0.0000120');
  expect(metricValue(true)).toBe('true');
  expect(metricValue('cooling')).toBe('cooling');
  expect(metricValue({ lat: 1 })).toBe('{"lat":1}');
  expect(count(-70_740, en)).toBe('−70,740');
});

test('bytes are in powers of 1,000, and intervals have no needless decimals', () => {
  expect(plain(bytes(184, en))).toBe('184 B');
  expect(plain(bytes(1_230_000, en))).toBe('1.23 MB');
  expect(plain(interval(5_000))).toBe('5 s');
  expect(plain(interval(200))).toBe('200 ms');
  expect(plural(1, 'device')).toBe('1 device');
  expect(plural(2, 'device')).toBe('2 devices');
});
