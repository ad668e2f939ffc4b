import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Period, newPeriod, parsePeriod, periodAt, weeklyFrom } from '../src/periods.ts';
import { weekOf } from '../src/weeks.ts';

const instants = fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2030, 0, 1) });

function periodsFor(times: readonly number[], clock: (index: number) => number, existing: Period[] = []): Period[] {
  let periods = [...existing].sort((a, b) => a.from - b.from);
  for (const [index, time] of times.entries()) {
    if (periodAt(periods, time) !== undefined) continue;
    periods = [...periods, newPeriod(time, clock(index), periods)].sort((a, b) => a.from - b.from);
  }
  return periods;
}

describe('periods of partitions', () => {
  it('contain their readings and never overlap, whatever exists and however time passes', () => {
    fc.assert(
      fc.property(fc.array(instants), fc.array(instants), instants, (times, weeks, start) => {
        const existing = [...new Map(weeks.map((at) => [weekOf(at).from, weekOf(at)])).values()];
        const periods = periodsFor(times, (index) => start + index * 86_400_000 * 3, existing);
        for (const time of times) expect(periodAt(periods, time)).toBeDefined();
        for (const [index, { from, to }] of periods.entries()) {
          expect(from).toBeLessThan(to);
          expect(periods[index + 1]?.from ?? Infinity).toBeGreaterThanOrEqual(to);
        }
      }),
    );
  });

  it('are quarters before the last twelve weeks, so all of the past has about as many as quarters', () => {
    const now = Date.UTC(2026, 10, 21);
    const days = (now - Date.UTC(2000, 0, 1)) / 86_400_000;
    const times = Array.from({ length: days }, (_, index) => Date.UTC(2000, 0, 1) + index * 86_400_000);
    expect(periodsFor(times, () => now).length).toBeLessThanOrEqual(27 * 4 + 13);
    expect(newPeriod(weeklyFrom(now), now, []).name).toBe('2026w35');
    expect(newPeriod(weeklyFrom(now) - 1, now, []).name).toBe('20260701_20260824');
  });

  it('have names that are read back', () => {
    fc.assert(
      fc.property(instants, instants, (time, now) => {
        const period = newPeriod(time, now, []);
        expect(parsePeriod(period.name)).toEqual(period);
      }),
    );
  });

  it.each(['20260101', '20260231_20260401', '20260401_20260101', '2026w60', 'template'])('%s is no name', (name) => {
    expect(parsePeriod(name)).toBeUndefined();
  });
});
