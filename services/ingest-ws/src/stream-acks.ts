/** Consecutive readings of one frame, on their way. */
export interface Passage {
  readonly first: number;
  readonly last: number;
  /** Readings of it that can never be taken, in increasing order: nobody need send them again. */
  readonly refused: number[];
  isSettled: boolean;
}

/**
 * The cumulative acknowledgement of one stream on one socket: which `upTo` may be said.
 *
 * `upTo` claims that everything received with a seq up to it is settled. Readings on their way and holes (nacked as retryable, not sent
 * again yet) hold it back. A claim once made stays true, provided that a device sends new readings in increasing order.
 */
export class StreamAcks {
  #passages: Passage[] = [];
  #holes: { first: number; last: number }[] = [];
  #isOrdered = true;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;
  #said = Number.NEGATIVE_INFINITY;
  /** Up to it all was settled before this session. */
  readonly #inherited: number;
  #owesRepeat = false;
  #firstRefused = Number.POSITIVE_INFINITY;
  #isGapless: boolean;
  #next: number | undefined;

  /** @param expectedFirst the seq after the last that an earlier session of this stream settled, where that is known */
  constructor(expectedFirst?: number) {
    this.#inherited = expectedFirst === undefined ? Number.NEGATIVE_INFINITY : expectedFirst - 1;
    this.#isGapless = true;
    this.#next = expectedFirst;
  }

  get isIdle(): boolean {
    return this.#passages.length === 0 && this.#holes.length === 0;
  }

  get holeCount(): number {
    return this.#holes.length;
  }

  /** Readings `first` to `last` were received and are on their way. */
  begin(first: number, last: number): Passage {
    const passage: Passage = { first, last, refused: [], isSettled: false };
    const previous = this.#passages.at(-1);
    if (previous !== undefined && first <= previous.last) this.#isOrdered = false;
    if (this.#next !== undefined && first > this.#next) this.#isGapless = false;
    this.#next = Math.max(this.#next ?? last + 1, last + 1);
    this.#passages.push(passage);
    if (this.#holes.length > 0) this.#fill(first, last);
    this.#lowest = Math.min(this.#lowest, first);
    this.#highest = Math.max(this.#highest, last);
    return passage;
  }

  /** Confirmed, or refused for good: the device need not send them again. */
  settle(passage: Passage): void {
    passage.isSettled = true;
    if (passage.last <= this.#said) this.#owesRepeat = true;
    this.#drop();
  }

  /**
   * The nack of this reading is its only answer. On this socket it comes before any ack that covers it; a later session, which cannot know
   * whether it arrived, must not pass over it.
   */
  noteRefused(passage: Passage, seq: number): void {
    passage.refused.push(seq);
    this.#firstRefused = Math.min(this.#firstRefused, seq);
  }

  /**
   * Nacked as retryable: all but the refused ones are missing until they come again. Not what was acked before, on this socket or an earlier
   * one: the device has forgotten it, and a hole there would hold back every later ack for ever.
   */
  leaveHole(passage: Passage): void {
    passage.isSettled = true;
    let first = Math.max(passage.first, this.#said + 1, this.#inherited + 1);
    for (const seq of [...passage.refused.filter((each) => each >= first), passage.last + 1]) {
      if (first < seq) this.#holes.push({ first, last: seq - 1 });
      first = seq + 1;
    }
    this.#drop();
  }

  /** What may be claimed now; undefined while nothing is settled. */
  get upTo(): number | undefined {
    let open = Number.POSITIVE_INFINITY;
    for (const hole of this.#holes) open = Math.min(open, hole.first);
    if (this.#isOrdered) open = Math.min(open, this.#passages[0]?.first ?? open);
    else for (const passage of this.#passages) if (!passage.isSettled) open = Math.min(open, passage.first);
    const upTo = open === Number.POSITIVE_INFINITY ? this.#highest : open - 1;
    return upTo >= this.#lowest ? upTo : undefined;
  }

  /** {@link upTo} where all numbers from the first on were seen and none was refused; a later session may pass it on as `lastSeq`. */
  get gaplessUpTo(): number | undefined {
    const { upTo } = this;
    if (!this.#isGapless || upTo === undefined) return undefined;
    const accepted = Math.min(upTo, this.#firstRefused - 1);
    return accepted >= this.#lowest ? accepted : undefined;
  }

  /** The next ack to send, once: undefined while there is nothing new to say. */
  takeAck(): number | undefined {
    const upTo = this.upTo;
    if (upTo === undefined || (upTo <= this.#said && !this.#owesRepeat)) return undefined;
    this.#owesRepeat = false;
    this.#said = Math.max(this.#said, upTo);
    return upTo;
  }

  #drop(): void {
    let settled = 0;
    while (this.#passages[settled]?.isSettled) settled += 1;
    if (settled > 0) this.#passages.splice(0, settled);
    if (this.#passages.length === 0) this.#isOrdered = true;
  }

  #fill(first: number, last: number): void {
    this.#holes = this.#holes.flatMap((hole) => {
      if (last < hole.first || first > hole.last) return [hole];
      const before = { first: hole.first, last: first - 1 };
      const after = { first: last + 1, last: hole.last };
      return [before, after].filter((part) => part.first <= part.last);
    });
  }
}
