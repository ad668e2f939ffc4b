/** What waits to share an envelope. */
export interface Sized {
  readonly readings: number;
  readonly bytes: number;
}

export interface BatchBounds {
  readonly readingsMax: number;
  readonly bytesMax: number;
  readonly lingerMs: number;
}

/**
 * Decides when and which items travel together, in the order they came. It knows counts, bytes and a deadline, but no timer and no
 * channel: time is an argument (milliseconds on any steady clock).
 */
export class MicroBatcher<T extends Sized> {
  readonly #bounds: BatchBounds;
  #takenAt = Number.NEGATIVE_INFINITY;
  #items: { readonly item: T; readonly at: number }[] = [];
  #readings = 0;
  #bytes = 0;

  constructor(bounds: BatchBounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  add(item: T, now: number): void {
    this.#items.push({ item, at: now });
    this.#readings += item.readings;
    this.#bytes += item.bytes;
  }

  /** A linger after the batch before, if that was lately, and no item waits for longer than that; undefined when nothing waits. */
  get deadline(): number | undefined {
    const oldest = this.#items[0];
    if (oldest === undefined) return undefined;
    const { lingerMs } = this.#bounds;
    return Math.min(Math.max(this.#takenAt + lingerMs, oldest.at), oldest.at + lingerMs);
  }

  /** What waits reaches a bound: waiting longer would make no larger batch. */
  get isFull(): boolean {
    return this.#readings >= this.#bounds.readingsMax || this.#bytes >= this.#bounds.bytesMax;
  }

  isDue(now: number): boolean {
    const { deadline } = this;
    return deadline !== undefined && (now >= deadline || this.isFull);
  }

  /** One batch: as many of the oldest as the bounds allow, and at least one; empty only when nothing waits. */
  take(now: number): T[] {
    this.#takenAt = now;
    let count = 0;
    let readings = 0;
    let bytes = 0;
    for (const { item } of this.#items) {
      if (
        count > 0 &&
        (readings + item.readings > this.#bounds.readingsMax || bytes + item.bytes > this.#bounds.bytesMax)
      )
        break;
      count += 1;
      readings += item.readings;
      bytes += item.bytes;
    }
    this.#readings -= readings;
    this.#bytes -= bytes;
    return this.#items.splice(0, count).map(({ item }) => item);
  }

  takeAll(): T[] {
    const all = this.#items.map(({ item }) => item);
    this.#items = [];
    this.#readings = 0;
    this.#bytes = 0;
    return all;
  }
}
