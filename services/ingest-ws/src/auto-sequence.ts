import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';

interface Counter {
  readonly epoch: string;
  next: number;
}

/** Numbers readings that carry no seq. An epoch is unique to this process, so two readings never share an identity. */
export class AutoSequence {
  #epoch = newEpoch();
  readonly #counters: LRUCache<string, Counter>;

  /** @param options.devicesMax beyond it the least recently used device is forgotten; it begins a new epoch when it comes again */
  constructor({ devicesMax }: { devicesMax: number }) {
    this.#counters = new LRUCache({
      max: devicesMax,
      // Of the devices without a counter, one may have had numbers in the epoch until now.
      disposeAfter: () => {
        this.#epoch = newEpoch();
      },
    });
  }

  /** Assigns `count` consecutive numbers; `seq` is the first. */
  assign(deviceId: string, count: number): { epoch: string; seq: number } {
    let counter = this.#counters.get(deviceId);
    if (counter === undefined) {
      counter = { epoch: this.#epoch, next: 1 };
      this.#counters.set(deviceId, counter);
    }
    const { epoch, next: seq } = counter;
    counter.next += count;
    return { epoch, seq };
  }
}

/** Readings of such a stream had no seq. */
export function isAutoEpoch(epoch: string): boolean {
  return /^auto-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(epoch);
}

function newEpoch(): string {
  return `auto-${randomUUID()}`;
}
