import { describe, expect, test } from 'vitest';
import { isLive, resolveRange, resolveTime } from '../src/ranges.ts';

const now = Date.parse('2026-11-21T13:32:10.000Z');
const cet = 3_600_000;
const at = (text: string) => Date.parse(text);

describe('times as they are typed', () => {
  test.each([
    ['now', now],
    ['now-3h', at('2026-11-21T10:32:10Z')],
    [' now-15m ', at('2026-11-21T13:17:10Z')],
    ['now+1d', at('2026-11-22T13:32:10Z')],
    ['now/h', at('2026-11-21T13:00:00Z')],
    ['now/d', at('2026-11-20T23:00:00Z')],
    ['now-1d/d', at('2026-11-19T23:00:00Z')],
    ['now/w', at('2026-11-15T23:00:00Z')],
    ['2026-11-21', at('2026-11-20T23:00:00Z')],
    ['2026-11-21T14:00', at('2026-11-21T13:00:00Z')],
    ['2026-11-21T14:00:00Z', at('2026-11-21T14:00:00Z')],
    ['2026-11-21T14:00:00+02:00', at('2026-11-21T12:00:00Z')],
  ])('%s', (text, time) => {
    expect(resolveTime(text, now, cet)).toBe(time);
  });

  test.each(['', 'yesterday', 'now-', 'now-3y', '2026-13-41', '3h'])('%s is no time', (text) => {
    expect(resolveTime(text, now, cet)).toBeUndefined();
  });
});

test('a range that is wrong names the field and what is allowed', () => {
  expect(resolveRange({ from: 'now-1x', to: 'now' }, now)).toEqual({
    error: { field: 'from', text: expect.stringMatching(/^"now-1x" is not a time: allowed are now, now-6h/) },
  });
  expect(resolveRange({ from: 'now', to: 'now-1h' }, now)).toEqual({
    error: { field: 'to', text: '"now-1h" is not after "now"' },
  });
  expect(resolveRange({ from: 'now-1h', to: 'now' }, now)).toEqual({ range: { from: now - 3_600_000, to: now } });
});

test('only a range that ends now is live', () => {
  expect(isLive({ from: 'now-1h', to: 'now' })).toBe(true);
  expect(isLive({ from: 'now-1d/d', to: 'now/d' })).toBe(false);
});
