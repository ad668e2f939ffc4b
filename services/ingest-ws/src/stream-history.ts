import { LRUCache } from 'lru-cache';

/** How far streams were settled in past sessions, for `hello.lastSeq`. The least recently used streams are forgotten. */
export class StreamHistory {
  readonly #lastSeqs: LRUCache<string, number>;

  constructor({ streamsMax }: { readonly streamsMax: number }) {
    this.#lastSeqs = new LRUCache({ max: streamsMax });
  }

  /** The last seq that an earlier session of this stream settled, where that is known. */
  lastSeqOf(deviceId: string, epoch: string): number | undefined {
    return this.#lastSeqs.get(keyOf(deviceId, epoch));
  }

  remember(deviceId: string, epoch: string, lastSeq: number): void {
    this.#lastSeqs.set(keyOf(deviceId, epoch), lastSeq);
  }
}

/** Neither a device id nor an epoch can hold a line feed. */
export function keyOf(deviceId: string, epoch: string): string {
  return `${deviceId}\n${epoch}`;
}
