/** Integers, first and last included. */
export type Range = readonly [first: number, last: number];

/**
 * A set of integers kept as sorted ranges that neither overlap nor touch. Consecutive numbers share a range, so a million acknowledged
 * readings of a device are one entry.
 */
export class RangeSet implements Iterable<Range> {
  readonly #ranges: [first: number, last: number][] = [];
  #size = 0;

  /** Count of numbers, not of ranges. */
  get size(): number {
    return this.#size;
  }

  get rangeCount(): number {
    return this.#ranges.length;
  }

  get last(): number | undefined {
    return this.#ranges.at(-1)?.[1];
  }

  /** @returns count of numbers that were new */
  add(first: number, last = first): number {
    if (last < first) return 0;
    const tail = this.#ranges.at(-1);
    if (tail === undefined || first > tail[1] + 1) {
      this.#ranges.push([first, last]);
      this.#size += last - first + 1;
      return last - first + 1;
    }
    if (first === tail[1] + 1) {
      tail[1] = last;
      this.#size += last - first + 1;
      return last - first + 1;
    }
    return this.#merge(first, last);
  }

  has(value: number): boolean {
    const range = this.#ranges[this.#indexOfFirstEndingAtOrAfter(value)];
    return range !== undefined && range[0] <= value;
  }

  /** Removes the lowest range. */
  forgetFirst(): void {
    const [first] = this.#ranges.splice(0, 1);
    if (first !== undefined) this.#size -= first[1] - first[0] + 1;
  }

  /** The numbers of this set that are not in the other. */
  minus(other: RangeSet): RangeSet {
    const rest = new RangeSet();
    let index = 0;
    const others = other.#ranges;
    for (const [first, last] of this.#ranges) {
      let from = first;
      while (index < others.length && others[index]![1] < from) index += 1;
      for (let at = index; at < others.length && others[at]![0] <= last && from <= last; at += 1) {
        rest.add(from, others[at]![0] - 1);
        from = Math.max(from, others[at]![1] + 1);
      }
      rest.add(from, last);
    }
    return rest;
  }

  [Symbol.iterator](): Iterator<Range> {
    return this.#ranges[Symbol.iterator]();
  }

  /** `1-20, 22`, cut after `rangesMax` ranges. */
  toString(rangesMax = 10): string {
    const shown = this.#ranges
      .slice(0, rangesMax)
      .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
    const hidden = this.#ranges.length - shown.length;
    return hidden > 0 ? `${shown.join(', ')} and ${hidden} more ranges` : shown.join(', ');
  }

  #merge(first: number, last: number): number {
    const from = this.#indexOfFirstEndingAtOrAfter(first - 1);
    let to = from;
    let known = 0;
    let merged: [number, number] = [first, last];
    for (; to < this.#ranges.length && this.#ranges[to]![0] <= last + 1; to += 1) {
      const [start, end] = this.#ranges[to]!;
      known += end - start + 1;
      merged = [Math.min(merged[0], start), Math.max(merged[1], end)];
    }
    this.#ranges.splice(from, to - from, merged);
    const added = merged[1] - merged[0] + 1 - known;
    this.#size += added;
    return added;
  }

  #indexOfFirstEndingAtOrAfter(value: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]![1] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
