/** The size of an item, which counts towards a batch. */
export interface Sized {
  readonly readingCount: number;
  readonly bytes: number;
}

export interface BatchBounds {
  readonly readingsMax: number;
  readonly bytesMax: number;
  readonly lingerMs: number;
}

/**
 * Groups items into batches, in order of arrival, and decides when a batch is due. It has no timer and does no I/O: the time is an
 * argument, in milliseconds on any monotonic clock.
 */
export class MicroBatcher<T extends Sized> {
  readonly #bounds: BatchBounds;
  #previousBatchAt = Number.NEGATIVE_INFINITY;
  #items: { readonly item: T; readonly at: number }[] = [];
  #readings = 0;
  #bytes = 0;

  constructor(bounds: BatchBounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  get oldest(): T | undefined {
    return this.#items[0]?.item;
  }

  /** When the oldest item was added. */
  get oldestAt(): number | undefined {
    return this.#items[0]?.at;
  }

  add(item: T, now: number): void {
    this.#items.push({ item, at: now });
    this.#readings += item.readingCount;
    this.#bytes += item.bytes;
  }

  /**
   * When the next batch is due: `min(max(previousBatchAt + lingerMs, oldestAt), oldestAt + lingerMs)`, where `oldestAt` is the arrival
   * of the oldest item. This is Kafka's `linger.ms`, measured from the previous batch. Undefined without items.
   */
  get deadline(): number | undefined {
    const oldest = this.#items[0];
    if (oldest === undefined) return undefined;
    const { lingerMs } = this.#bounds;
    return Math.min(Math.max(this.#previousBatchAt + lingerMs, oldest.at), oldest.at + lingerMs);
  }

  /** The items reach a bound: waiting longer would not make the batch larger. */
  get isFull(): boolean {
    return this.#readings >= this.#bounds.readingsMax || this.#bytes >= this.#bounds.bytesMax;
  }

  isDue(now: number): boolean {
    const { deadline } = this;
    return deadline !== undefined && (now >= deadline || this.isFull);
  }

  /** One batch: as many of the oldest items as the bounds allow, but at least one; empty only without items. */
  nextBatch(now: number): T[] {
    this.#previousBatchAt = now;
    let count = 0;
    let readings = 0;
    let bytes = 0;
    for (const { item } of this.#items) {
      if (
        count > 0 &&
        (readings + item.readingCount > this.#bounds.readingsMax || bytes + item.bytes > this.#bounds.bytesMax)
      )
        break;
      count += 1;
      readings += item.readingCount;
      bytes += item.bytes;
    }
    return this.#take(count);
  }

  /** The items that were added at this time or before. */
  takeAddedBy(time: number): T[] {
    const count = this.#items.findIndex(({ at }) => at > time);
    return this.#take(count < 0 ? this.#items.length : count);
  }

  takeAll(): T[] {
    return this.#take(this.#items.length);
  }

  #take(count: number): T[] {
    const taken = this.#items.splice(0, count).map(({ item }) => item);
    for (const { readingCount, bytes } of taken) {
      this.#readings -= readingCount;
      this.#bytes -= bytes;
    }
    return taken;
  }
}
