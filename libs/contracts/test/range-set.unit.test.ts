import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../src/range-set.ts';

const ranges = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 20 }))
    .map(([first, extra]): [number, number] => [first, first + extra]),
);

const numbersOf = (list: Iterable<readonly [number, number]>): Set<number> =>
  new Set([...list].flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index)));

function rangeSetOf(list: readonly [number, number][]): RangeSet {
  const set = new RangeSet();
  for (const [first, last] of list) set.add(first, last);
  return set;
}

describe('range set', () => {
  it('holds the same numbers as a plain set, and counts new ones', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const plain = new Set<number>();
        const set = new RangeSet();
        for (const range of list) {
          const before = plain.size;
          for (const value of numbersOf([range])) plain.add(value);
          expect(set.add(...range)).toBe(plain.size - before);
        }
        expect(set.size).toBe(plain.size);
        expect(numbersOf(set)).toEqual(plain);
        for (let value = 0; value <= 221; value += 1) expect(set.has(value)).toBe(plain.has(value));
      }),
    );
  });

  it('keeps its ranges sorted and separate', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const kept = [...rangeSetOf(list)];
        for (const [index, [first, last]] of kept.entries()) {
          expect(first).toBeLessThanOrEqual(last);
          if (index > 0) expect(first).toBeGreaterThan(kept[index - 1]![1] + 1);
        }
      }),
    );
  });

  it('subtracts like a plain set', () => {
    fc.assert(
      fc.property(ranges, ranges, (left, right) => {
        expect(numbersOf(rangeSetOf(left).minus(rangeSetOf(right)))).toEqual(
          numbersOf(left).difference(numbersOf(right)),
        );
      }),
    );
  });

  it('prints its ranges, and cuts a long list', () => {
    expect(
      String(
        rangeSetOf([
          [1, 20],
          [22, 22],
        ]),
      ),
    ).toBe('1-20, 22');
    expect(
      rangeSetOf([
        [1, 1],
        [3, 3],
        [5, 5],
      ]).toString(2),
    ).toBe('1, 3 and 1 more ranges');
  });
});
