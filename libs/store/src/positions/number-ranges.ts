/** Consecutive envelope numbers, both ends included; without a last one they go on for ever. */
export interface NumberRange {
  readonly first: number;
  readonly last: number | null;
}

/** The same numbers as few ranges in ascending order, which neither overlap nor touch. */
export function merged(ranges: readonly NumberRange[]): NumberRange[] {
  const united: { first: number; last: number | null }[] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = united.at(-1);
    if (before === undefined || (before.last !== null && first > before.last + 1)) united.push({ first, last });
    else if (before.last !== null) before.last = last === null ? null : Math.max(before.last, last);
  }
  return united;
}

/** What is left of ranges without the numbers from `first` to `last`. */
export function without(ranges: readonly NumberRange[], first: number, last: number): NumberRange[] {
  return ranges.flatMap((range) => {
    if (last < range.first || (range.last !== null && first > range.last)) return [range];
    const left: NumberRange[] = [];
    if (range.first < first) left.push({ first: range.first, last: first - 1 });
    if (range.last === null || range.last > last) left.push({ first: last + 1, last: range.last });
    return left;
  });
}

/** The part of ranges that is not above a number. */
export function upTo(ranges: readonly NumberRange[], number: number): { first: number; last: number }[] {
  return ranges
    .filter(({ first }) => first <= number)
    .map(({ first, last }) => ({ first, last: Math.min(last ?? number, number) }));
}
