import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Bucket } from '../src/series/buckets.ts';
import { fillEmpty } from '../src/series/fill.ts';

const minute = 60_000;

function bucket(number: number, isBefore: boolean): Bucket {
  const start = number * minute;
  return { start, end: start + minute, from: start, to: start + minute, heldSince: start, number, isBefore };
}

/** Values of buckets, some before the range; undefined is an empty bucket, null one in which the aggregate is not defined. */
const histories = fc.record({
  before: fc.nat(4),
  values: fc.array(fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constant(null), fc.constant(undefined)), {
    minLength: 1,
    maxLength: 30,
  }),
});

it('empty buckets are filled from the nearest ones that have a value, and no other bucket changes', () => {
  fc.assert(
    fc.property(histories, fc.constantFrom('locf', 'linear', 'null'), fc.option(fc.nat(8)), (history, fill, max) => {
      const { values } = history;
      const buckets = values.map((_, index) => bucket(index - history.before, index < history.before));
      const isEmpty = values.map((value) => value === undefined);
      const filled = values.map((value) => value ?? null);
      const fillMaxMs = max === null ? undefined : max * minute;
      const ranges = fillEmpty({ fill, fillMaxMs }, buckets, isEmpty, [{ values: filled, isNeverFilled: false }]);
      const marked = new Set(
        ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, index) => from + index)),
      );
      for (const [index, value] of values.entries()) {
        const left = values.findLastIndex((one, place) => place < index && typeof one === 'number');
        const right = values.findIndex((one, place) => place > index && typeof one === 'number');
        let expected = value ?? null;
        if (
          value === undefined &&
          fill === 'locf' &&
          index >= history.before &&
          left !== -1 &&
          index - left <= (max ?? 10)
        )
          expected = values[left]!;
        if (value === undefined && fill === 'linear' && left !== -1 && right !== -1)
          expected = values[left]! + (values[right]! - values[left]!) * ((index - left) / (right - left));
        expect(filled[index]).toBe(expected);
        expect(marked.has(index - history.before)).toBe(value === undefined && expected !== null);
      }
    }),
  );
});
