/** Every reading that a service has acknowledged, by stream. */
export class Promises {
  readonly #streams = new Map<string, { deviceId: string; epoch: string; acked: Set<number> }>();

  add(deviceId: string, epoch: string, seq: number): void {
    const key = JSON.stringify([deviceId, epoch]);
    const stream = this.#streams.get(key) ?? { deviceId, epoch, acked: new Set() };
    this.#streams.set(key, stream);
    stream.acked.add(seq);
  }

  get size(): number {
    return this.streams.reduce((sum, { acked }) => sum + acked.size, 0);
  }

  get streams(): readonly { readonly deviceId: string; readonly epoch: string; readonly acked: ReadonlySet<number> }[] {
    return [...this.#streams.values()];
  }
}

/** Numbers for readings, so that each run of an input sends readings that were not sent before. */
export class FreshNumbers {
  #next: number;

  constructor(first: number) {
    this.#next = first;
  }

  /** The first of 4,000 unused numbers. */
  take(): number {
    const first = this.#next;
    this.#next += 4_000;
    return first;
  }
}
