import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketEdges, intervalFor, isTimeZone, parseInterval, startOfDate } from '../src/series/intervals.ts';

function edges(interval: string, timeZone: string, from: string, to: string): string[] {
  const range = { from: Date.parse(from), to: Date.parse(to) };
  return bucketEdges(range, parseInterval(interval)!, timeZone).map((at) => new Date(at).toISOString().slice(0, 16));
}

function hours(all: readonly string[]): number[] {
  return all.slice(1).map((at, index) => (Date.parse(`${at}Z`) - Date.parse(`${all[index]}Z`)) / 3_600_000);
}

const localTimes = new Map<string, Intl.DateTimeFormat>();

function localTime(at: number, timeZone: string): string {
  const format =
    localTimes.get(timeZone) ?? new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  localTimes.set(timeZone, format);
  return format.format(at);
}

describe('buckets', () => {
  it('of a day have 23 hours when the clocks go forward and 25 when they go back', () => {
    expect(edges('1d', 'Europe/Berlin', '2026-03-29T12:00Z', '2026-03-29T13:00Z')).toEqual([
      '2026-03-28T23:00',
      '2026-03-29T22:00',
    ]);
    expect(edges('1d', 'Europe/Berlin', '2026-10-25T12:00Z', '2026-10-25T13:00Z')).toEqual([
      '2026-10-24T22:00',
      '2026-10-25T23:00',
    ]);
  });

  it('of an hour are 25 on the day when the clocks go back', () => {
    const found = edges('1h', 'Europe/Berlin', '2026-10-24T22:00Z', '2026-10-25T23:00Z');
    expect(hours(found)).toEqual(Array.from({ length: 25 }, () => 1));
  });

  it('of several hours begin at midnight, and the one with the change of the clock is shorter or longer', () => {
    expect(hours(edges('6h', 'Europe/Berlin', '2026-03-28T23:00Z', '2026-03-29T22:00Z'))).toEqual([5, 6, 6, 6]);
    expect(hours(edges('6h', 'Europe/Berlin', '2026-10-24T22:00Z', '2026-10-25T23:00Z'))).toEqual([7, 6, 6, 6]);
    expect(hours(edges('5h', 'UTC', '2026-01-01T00:00Z', '2026-01-02T00:00Z'))).toEqual([5, 5, 5, 5, 4]);
  });

  it('follow zones whose offset, or change of the clock, is half an hour', () => {
    expect(edges('1d', 'Asia/Kolkata', '2026-01-01T00:00Z', '2026-01-01T01:00Z')).toEqual([
      '2025-12-31T18:30',
      '2026-01-01T18:30',
    ]);
    expect(hours(edges('1d', 'Australia/Lord_Howe', '2026-04-04T00:00Z', '2026-04-06T00:00Z'))).toEqual([24, 24.5, 24]);
    expect(hours(edges('1d', 'Australia/Lord_Howe', '2026-10-03T00:00Z', '2026-10-04T20:00Z'))).toEqual([24, 23.5, 24]);
  });

  it('leave out a day that the zone skipped, and begin at the change of the clock where it skipped midnight', () => {
    expect(hours(edges('1d', 'Pacific/Apia', '2011-12-29T12:00Z', '2011-12-31T12:00Z'))).toEqual([24, 24, 24]);
    expect(edges('1d', 'America/Santiago', '2026-09-06T12:00Z', '2026-09-06T13:00Z')[0]).toBe('2026-09-06T04:00');
    expect(edges('1d', 'America/Havana', '2026-11-01T12:00Z', '2026-11-01T13:00Z')).toEqual([
      '2026-11-01T04:00',
      '2026-11-02T05:00',
    ]);
  });

  it('of weeks begin on Monday, and those of months have the days of the month', () => {
    expect(edges('1w', 'UTC', '2026-11-22T10:00Z', '2026-11-23T10:00Z')).toEqual([
      '2026-11-16T00:00',
      '2026-11-23T00:00',
      '2026-11-30T00:00',
    ]);
    expect(hours(edges('1mo', 'UTC', '2028-02-10T00:00Z', '2028-02-11T00:00Z'))).toEqual([29 * 24]);
    expect(edges('3mo', 'UTC', '2026-11-22T00:00Z', '2026-11-23T00:00Z')).toEqual([
      '2026-10-01T00:00',
      '2027-01-01T00:00',
    ]);
    expect(edges('1y', 'Europe/Berlin', '2026-11-22T00:00Z', '2026-11-23T00:00Z')[0]).toBe('2025-12-31T23:00');
  });

  it('cover the range without a gap, and begin at local midnight, in every zone', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom('1d', '1w', '1mo', '6h', '1h', '7m', '3mo'),
        fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2040, 0, 1) }),
        fc.integer({ min: 1, max: 40 * 86_400_000 }),
        (zone, text, from, lengthMs) => {
          const interval = parseInterval(text)!;
          const found = bucketEdges({ from, to: from + lengthMs }, interval, zone);
          expect(found[0]).toBeLessThanOrEqual(from);
          expect(found[1]).toBeGreaterThan(from);
          expect(found.at(-1)).toBeGreaterThanOrEqual(from + lengthMs);
          expect(found.at(-2)).toBeLessThan(from + lengthMs);
          expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
          if (interval.unit === 'm' || (interval.count === 1 && interval.unit === 'h')) return;
          for (const edge of found) {
            // The first moment of its local day, or a later one at that hour: a moment earlier it was another day, or another hour.
            const [day, time] = localTime(edge, zone).split(' ');
            const [dayBefore] = localTime(edge - 1, zone).split(' ');
            if (interval.unit === 'h')
              expect(
                Number(time!.slice(0, 2)) % 6 === 0 || localTime(edge - 1, zone).slice(11, 13) !== time!.slice(0, 2),
              ).toBe(true);
            else expect(dayBefore).not.toBe(day);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('an interval', () => {
  it.each(['0s', '25h', '2d', '5mo', '12mo', '2w', '1', 'h', '1M', '-1h', '1.5h', '100000s', ''])(
    'of "%s" is refused',
    (text) => {
      expect(parseInterval(text)).toBeUndefined();
    },
  );

  it('is chosen for a number of points', () => {
    const from = Date.UTC(2026, 0, 1);
    const chosen = (ms: number, points: number) => intervalFor({ from, to: from + ms }, 'UTC', points)?.text;
    expect(chosen(86_400_000, 288)).toBe('5m');
    expect(chosen(86_400_000, 287)).toBe('10m');
    expect(chosen(10_000, 10)).toBe('1s');
    expect(chosen(365 * 86_400_000, 12)).toBe('1mo');
    expect(chosen(365 * 86_400_000, 11)).toBeUndefined();
  });
});

it('a zone is a name of the IANA database, and a date begins at its local midnight', () => {
  expect(['Europe/Berlin', 'UTC', 'Etc/GMT+5', 'Asia/Kathmandu'].map(isTimeZone)).toEqual([true, true, true, true]);
  expect(['+02:00', 'Mars/Base', '', "'; drop table", 'Europe/Berlin\0'].map(isTimeZone)).toEqual(
    Array.from({ length: 5 }, () => false),
  );
  expect(startOfDate('2026-10-20', 'Europe/Berlin')).toBe(Date.UTC(2026, 9, 19, 22));
  expect(startOfDate('2026-02-30', 'UTC')).toBeUndefined();
});
