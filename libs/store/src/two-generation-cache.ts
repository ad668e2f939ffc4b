/**
 * A bounded map that forgets what was not used lately: entries live in a young and an old generation, use moves them to the young
 * one, and when that is full it becomes the old one. Nearly as good as LRU, at the price of one look-up.
 */
export class TwoGenerationCache<Value> {
  readonly #generationEntriesMax: number;
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  constructor(entriesMax: number) {
    this.#generationEntriesMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: Value): void {
    if (this.#young.size >= this.#generationEntriesMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
