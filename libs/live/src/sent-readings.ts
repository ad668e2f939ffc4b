import { RangeSet } from '@fleetwire/contracts/range-set';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';

const streamsMax = 10_000;
const rangesPerStreamMax = 1_000;
/** Of all streams together. */
const rangesMax = 50_000;

/** The identities that one subscription has sent: ranges of numbers for each stream. The least recently used streams are forgotten. */
export class SentReadings {
  readonly #streams = new Map<string, RangeSet>();
  #ranges = 0;

  get rangeCount(): number {
    return this.#ranges;
  }

  /** @returns whether the reading was not sent before; it is from now on */
  add({ deviceId, epoch, seq }: Pick<IdentifiedReading, 'deviceId' | 'epoch' | 'seq'>): boolean {
    const key = `${deviceId} ${epoch}`;
    const known = this.#streams.get(key);
    const sent = known ?? new RangeSet();
    if (known !== undefined) this.#streams.delete(key);
    this.#streams.set(key, sent);
    const before = sent.rangeCount;
    const isNew = sent.add(seq) === 1;
    if (sent.rangeCount > rangesPerStreamMax) sent.forgetFirst();
    this.#ranges += sent.rangeCount - before;
    while (this.#streams.size > streamsMax || this.#ranges > rangesMax) this.#forgetStream();
    return isNew;
  }

  #forgetStream(): void {
    const [key, sent] = this.#streams.entries().next().value!;
    this.#streams.delete(key);
    this.#ranges -= sent.rangeCount;
  }
}
