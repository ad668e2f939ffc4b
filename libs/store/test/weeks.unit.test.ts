import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseWeek, weekOf, weeksFrom } from '../src/weeks.ts';

const instants = fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2200, 0, 1) });

describe('weeks', () => {
  it.each([
    ['2021-01-03T23:59:59.999Z', '2020w53'],
    ['2021-01-04T00:00:00.000Z', '2021w01'],
    ['2000-01-01T00:00:00.000Z', '1999w52'],
    ['2024-12-30T00:00:00.000Z', '2025w01'],
    ['2026-11-21T12:00:00.000Z', '2026w47'],
    ['1969-12-31T23:00:00.000Z', '1970w01'],
  ])('%s is in %s', (instant, name) => {
    expect(weekOf(Date.parse(instant)).name).toBe(name);
  });

  it('hold the instant they are of, from a Monday to a Monday', () => {
    fc.assert(
      fc.property(instants, (instant) => {
        const { from, to } = weekOf(instant);
        expect(from <= instant && instant < to).toBe(true);
        expect([new Date(from).getUTCDay(), new Date(to).getUTCDay()]).toEqual([1, 1]);
      }),
    );
  });

  it('are found again by their name', () => {
    fc.assert(
      fc.property(instants, (instant) => {
        expect(parseWeek(weekOf(instant).name)).toEqual(weekOf(instant));
      }),
    );
  });

  it.each(['2021w53', '2021w00', '2021', 'archive', '2021w1'])('has none of the name %s', (name) => {
    expect(parseWeek(name)).toBeUndefined();
  });

  it('follow one another', () => {
    expect(weeksFrom(Date.UTC(2026, 11, 24), 2).map(({ name }) => name)).toEqual(['2026w52', '2026w53', '2027w01']);
  });
});
