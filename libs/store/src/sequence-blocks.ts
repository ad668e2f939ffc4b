/** Sequence numbers per row of the sequence ledger (`sequence_blocks`). */
export const sequenceBlockSize = 1_024;

/** The readings of a batch that belong to one block of one stream. */
interface OfferedBlock {
  readonly streamKey: number;
  readonly block: number;
  /** As Postgres writes an `int8multirange`: `{[5,9),[12,13)}`. */
  readonly ranges: string;
  /** The block's readings, as positions `from <= i < to` in `OfferedBlocks.order`. */
  readonly from: number;
  readonly to: number;
}

export interface OfferedBlocks {
  /** Ordinals of the readings by stream and sequence number, each identity once: its first reading. */
  readonly order: readonly number[];
  /** Sorted, because all writers must lock rows in the same order. */
  readonly blocks: readonly OfferedBlock[];
}

/** Sorts a batch by identity, drops repeated identities, and divides it into blocks. */
export function offeredBlocks(streamKeys: ArrayLike<number>, seqs: ArrayLike<number>): OfferedBlocks {
  const stream = (ordinal: number) => streamKeys[ordinal] as number;
  const seq = (ordinal: number) => seqs[ordinal] as number;
  const sorted = Array.from({ length: seqs.length }, (_, ordinal) => ordinal);
  sorted.sort((a, b) => stream(a) - stream(b) || seq(a) - seq(b) || a - b);
  const order = sorted.filter((ordinal, index) => {
    const before = sorted[index - 1];
    return before === undefined || seq(before) !== seq(ordinal) || stream(before) !== stream(ordinal);
  });

  const blocks: OfferedBlock[] = [];
  for (let from = 0, to = 0; from < order.length; from = to) {
    const first = order[from] as number;
    const block = Math.floor(seq(first) / sequenceBlockSize);
    const ranges = new RangesText();
    for (; to < order.length; to++) {
      const ordinal = order[to] as number;
      if (stream(ordinal) !== stream(first) || Math.floor(seq(ordinal) / sequenceBlockSize) !== block) break;
      ranges.add(seq(ordinal));
    }
    blocks.push({ streamKey: stream(first), block, ranges: ranges.toString(), from, to });
  }
  return { order, blocks };
}

/** Whether a multirange in Postgres' notation contains a number. */
export function contains(ranges: string, value: number): boolean {
  for (const [, from, to] of ranges.matchAll(/\[(\d+),(\d+)\)/g)) {
    if (Number(from) <= value && value < Number(to)) return true;
  }
  return false;
}

/** Writes ascending numbers as ranges. */
class RangesText {
  #done = '';
  #from = -1;
  #to = -1;

  add(value: number): void {
    if (value !== this.#to) {
      this.#close();
      this.#from = value;
    }
    this.#to = value + 1;
  }

  toString(): string {
    this.#close();
    return `{${this.#done}}`;
  }

  #close(): void {
    if (this.#from < 0) return;
    this.#done += `${this.#done === '' ? '' : ','}[${this.#from},${this.#to})`;
    this.#from = -1;
  }
}
