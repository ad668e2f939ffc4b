import fc from 'fast-check';
import { expect, it } from 'vitest';
import { merged } from '../src/positions/number-ranges.ts';

it('ranges are united to few that have the same numbers', () => {
  const number = fc.integer({ min: 1, max: 40 });
  const range = fc
    .tuple(number, fc.option(fc.nat(6)))
    .map(([first, more]) => ({ first, last: more === null ? null : first + more }));
  const numbersOf = (ranges: readonly { first: number; last: number | null }[]) =>
    Array.from({ length: 60 }, (_, n) => n).filter((n) =>
      ranges.some(({ first, last }) => n >= first && n <= (last ?? Infinity)),
    );
  fc.assert(
    fc.property(fc.array(range), (ranges) => {
      const united = merged(ranges);
      expect(numbersOf(united)).toEqual(numbersOf(ranges));
      united.slice(1).forEach(({ first }, index) => expect(first).toBeGreaterThan(united[index]!.last! + 1));
    }),
  );
  expect(merged(Array.from({ length: 1_000 }, () => ({ first: 1, last: null })))).toEqual([{ first: 1, last: null }]);
});
