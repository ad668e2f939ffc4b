import { Problem } from '@fleetwire/runtime/problem';

interface Answer<T> {
  readonly value: T;
  /** When the value was read, epoch milliseconds. */
  readonly asOf: number;
  /** The database is away: this is the last answer it gave. */
  readonly stale: boolean;
}

export interface LastGood<T> {
  /** Reads; when the dependency is away (503), answers as it did last time, if it ever did for this key. */
  read(key: string, read: () => Promise<T>): Promise<Answer<T>>;
}

/** @param entriesMax how many keys are remembered; the one not asked for longest goes first */
export function createLastGood<T>(entriesMax: number): LastGood<T> {
  const remembered = new Map<string, { readonly value: T; readonly asOf: number }>();

  const remember = (key: string, value: T, asOf: number): void => {
    remembered.delete(key);
    remembered.set(key, { value, asOf });
    const oldest = remembered.size > entriesMax ? remembered.keys().next().value : undefined;
    if (oldest !== undefined) remembered.delete(oldest);
  };

  return {
    read: async (key, read) => {
      try {
        const asOf = Date.now();
        const value = await read();
        remember(key, value, asOf);
        return { value, asOf, stale: false };
      } catch (error) {
        const known = error instanceof Problem && error.status === 503 ? remembered.get(key) : undefined;
        if (!known) throw error;
        return { ...known, stale: true };
      }
    },
  };
}
