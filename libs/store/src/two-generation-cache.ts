/**
 * A bounded map that drops entries not used recently: entries live in a young and an old generation, use moves them to the young one,
 * and when that is full it becomes the old one.
 *
 * Not lru-cache, because a look-up, one per reading, costs less here: with 200,000 entries at most, of which 90,000 are used at random,
 * 1.30 against 1.39 µs of CPU; of 2,000, 0.23 against 0.47 µs (lru-cache 11.5.3, Node 24, keys built for each look-up). What is lost is
 * the guarantee that as many entries as fit are kept: only half of them are.
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
