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
  /** Reads; where `read` fails with one of the statuses, the last good answer for this key, if there is one. */
  read(key: string, read: () => Promise<T>): Promise<Answer<T>>;
}

export interface LastGoodBounds<T> {
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly bytesOf: (value: T) => number;
  /** Calls with the same key at the same time share one `read`: it must not end with one of its callers. */
  readonly isShared?: boolean;
  /** Of failures that are answered with the last good answer; 503 and 504 if undefined. */
  readonly statuses?: readonly number[];
}

/** Remembers answers within the bounds; the least recently used is dropped first, and one larger than `bytesMax` is not kept. */
export function createLastGood<T>({
  entriesMax,
  bytesMax,
  bytesOf,
  isShared = false,
  statuses = [503, 504],
}: LastGoodBounds<T>): LastGood<T> {
  const remembered = new LRUCache<string, Omit<Answer<T>, 'stale'>>({
    max: entriesMax,
    maxSize: Math.max(1, bytesMax),
    sizeCalculation: ({ value }) => Math.max(1, bytesOf(value)),
  });

  const inFlight = new Map<string, Promise<Answer<T>>>();

  const readOnce: LastGood<T>['read'] = async (key, read) => {
    try {
      const asOf = Date.now();
      const answer = { value: await read(), asOf };
      remembered.set(key, answer);
      return { ...answer, stale: false };
    } catch (error) {
      const known = error instanceof Problem && statuses.includes(error.status) ? remembered.get(key) : undefined;
      if (!known) throw error;
      return { ...known, stale: true };
    }
  };

  return {
    read: (key, read) => {
      if (!isShared) return readOnce(key, read);
      const known = inFlight.get(key);
      if (known !== undefined) return known;
      const answer = readOnce(key, read).finally(() => inFlight.delete(key));
      inFlight.set(key, answer);
      return answer;
    },
  };
}
