import { Problem } from '@fleetwire/runtime/problem';
import { LRUCache } from 'lru-cache';

interface Answer<T> {
  readonly value: T;
  /** When the value was read, epoch milliseconds. */
  readonly asOf: number;
  /** The dependency is unavailable: this is its last good answer. */
  readonly stale: boolean;
}

export interface LastGood<T> {
  /** Reads; where `read` fails with 503 or 504, the last good answer for this key, if there is one. */
  read(key: string, read: () => Promise<T>): Promise<Answer<T>>;
}

export interface LastGoodBounds<T> {
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly bytesOf: (value: T) => number;
}

/** Remembers answers within the bounds; the least recently used is dropped first, and one larger than `bytesMax` is not kept. */
export function createLastGood<T>({ entriesMax, bytesMax, bytesOf }: LastGoodBounds<T>): LastGood<T> {
  const remembered = new LRUCache<string, Omit<Answer<T>, 'stale'>>({
    max: entriesMax,
    maxSize: Math.max(1, bytesMax),
    sizeCalculation: ({ value }) => Math.max(1, bytesOf(value)),
  });

  return {
    read: async (key, read) => {
      try {
        const asOf = Date.now();
        const answer = { value: await read(), asOf };
        remembered.set(key, answer);
        return { ...answer, stale: false };
      } catch (error) {
        const known =
          error instanceof Problem && (error.status === 503 || error.status === 504) ? remembered.get(key) : undefined;
        if (!known) throw error;
        return { ...known, stale: true };
      }
    },
  };
}
