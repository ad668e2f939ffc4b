/** Sorted ranges, for messages: `1-3, 7`. */
export function rangesText(numbers: Iterable<number>): string {
  const ranges: { first: number; last: number }[] = [];
  for (const number of [...numbers].toSorted((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range !== undefined && number === range.last + 1) range.last = number;
    else ranges.push({ first: number, last: number });
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}
