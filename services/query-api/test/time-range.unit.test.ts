import { describe, expect, it } from 'vitest';
import { parseInstant, parseRange } from '../src/time-range.ts';

const now = Date.UTC(2026, 0, 31, 8);

describe('a point in time', () => {
  it.each([
    ['2026-01-31T08:00:00Z', now],
    ['2026-01-31t08:00:00.250z', now + 250],
    ['2026-01-31T10:00:00+02:00', now],
    ['2026-01-31T10:00:00 02:00', now],
    ['2026-01-31', Date.UTC(2026, 0, 31)],
    [String(now), now],
    ['now', now],
    ['now-6h', now - 6 * 3_600_000],
    ['now-90s', now - 90_000],
    ['now+1d', now + 86_400_000],
    ['now-2w', now - 14 * 86_400_000],
  ])('may be written %s', (text, expected) => {
    expect(parseInstant(text, now)).toBe(expected);
  });

  it.each([
    '',
    'yesterday',
    'now-6',
    'now-6y',
    '6h',
    '2026-13-01T00:00:00Z',
    '2026-01-31T08:00:00',
    '12.5',
    'now-9999999h',
  ])('is not %j', (text) => {
    expect(parseInstant(text, now)).toBeUndefined();
  });
});

describe('a time range', () => {
  it('without bounds covers all times that a reading may have', () => {
    expect(parseRange({}, now)).toEqual({ from: Date.UTC(2000, 0, 1), to: now + 86_400_000 });
  });

  it.each([
    [{ from: 'now', to: 'now-1h' }, ['query.from']],
    [{ from: 'now', to: 'now' }, ['query.from']],
    [{ from: 'soon', to: 'later' }, ['query.from', 'query.to']],
    [{ from: '253402300799999' }, ['query.from']],
    [{ from: '-1', to: '999999999999999' }, ['query.from', 'query.to']],
  ])('that is empty or invalid is refused: %j', (range, fields) => {
    expect(() => parseRange(range, now)).toThrow(
      expect.objectContaining({ status: 400, errors: fields.map((field) => expect.objectContaining({ field })) }),
    );
  });
});
