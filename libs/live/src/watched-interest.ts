import type { Interest } from '@fleetwire/contracts/live-message';
import type { LiveFilter } from './live-filter.ts';

type Filtered = ReturnType<LiveFilter['interest']>;

/** Changes that come together are announced together. */
const collectMs = 20;
/** Each announcement costs every edge: after one, the next comes no sooner. */
const announceIntervalMs = 250;
const devicesMax = 20_000;
const patternsMax = 200;
const interestBytesMax = 1024 * 1024;

/** What the subscribers of one instance watch together, and when the edges have to be told. No I/O, no timers. */
export class WatchedInterest {
  readonly #devices = new Map<string, number>();
  readonly #patterns = new Map<string, number>();
  #revision = 0;
  #isExtended = false;
  #isReduced = false;
  #announcedAt = Number.NEGATIVE_INFINITY;

  /** The revision that edges know when they know everything that was added. */
  get revision(): number {
    return this.#isExtended ? this.#revision + 1 : this.#revision;
  }

  /** @returns whether edges have to be told */
  add({ devices, patterns }: Filtered): boolean {
    const before = this.#devices.size + this.#patterns.size;
    for (const device of devices) count(this.#devices, device, 1);
    for (const pattern of patterns) count(this.#patterns, pattern, 1);
    this.#isExtended ||= this.#devices.size + this.#patterns.size > before;
    return this.#isExtended;
  }

  /** Edges that are not told publish too much, which is harmless: it is announced with the next addition, or refresh. */
  remove({ devices, patterns }: Filtered): void {
    const before = this.#devices.size + this.#patterns.size;
    for (const device of devices) count(this.#devices, device, -1);
    for (const pattern of patterns) count(this.#patterns, pattern, -1);
    this.#isReduced ||= this.#devices.size + this.#patterns.size < before;
  }

  clear(): void {
    this.#devices.clear();
    this.#patterns.clear();
    this.#isReduced = true;
  }

  /** How long to wait before the next announcement. */
  waitMs(now: number): number {
    return Math.max(collectMs, this.#announcedAt + announceIntervalMs - now);
  }

  /** @returns undefined when nothing was ever watched */
  announce(
    now: number,
    { isNewRevision = false } = {},
  ): Pick<Interest, 'revision' | 'all' | 'devices' | 'patterns'> | undefined {
    if (this.#isExtended || this.#isReduced || (isNewRevision && this.#revision > 0)) this.#revision += 1;
    this.#isExtended = false;
    this.#isReduced = false;
    if (this.#revision === 0) return undefined;
    this.#announcedAt = now;
    const devices = [...this.#devices.keys()];
    const patterns = [...this.#patterns.keys()];
    const bytes = [...devices, ...patterns].reduce((sum, name) => sum + name.length + 3, 0);
    const all = devices.length > devicesMax || patterns.length > patternsMax || bytes > interestBytesMax;
    return { revision: this.#revision, all, devices: all ? [] : devices, patterns: all ? [] : patterns };
  }
}

export function count(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const after = (counts.get(key) ?? 0) + change;
  if (after === 0) counts.delete(key);
  else counts.set(key, after);
}
