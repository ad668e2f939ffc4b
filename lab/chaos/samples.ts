import type { ClientJournal } from '../fleet/journal.ts';
import type { Random } from '../fleet/random.ts';

interface Sample {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly text: string;
}

/** A uniform sample of bounded size of all readings, as they were sent (reservoir sampling, Vitter 1985). */
export class Samples implements Iterable<Sample> {
  readonly #max: number;
  readonly #random: Random;
  readonly #kept: Sample[] = [];
  #seen = 0;

  constructor(max: number, random: Random) {
    this.#max = max;
    this.#random = random;
  }

  add({ deviceId, epoch }: Pick<ClientJournal, 'deviceId' | 'epoch'>, seq: number, text: string): void {
    this.#seen += 1;
    const place = this.#seen <= this.#max ? this.#seen - 1 : Math.floor(this.#random() * this.#seen);
    if (place < this.#max) this.#kept[place] = { deviceId, epoch, seq, text };
  }

  [Symbol.iterator](): Iterator<Sample> {
    return this.#kept[Symbol.iterator]();
  }
}
