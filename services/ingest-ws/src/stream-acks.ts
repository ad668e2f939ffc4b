/** The seqs of the readings of one frame, which are in flight. */
export interface AckRange {
  readonly first: number;
  readonly last: number;
  /** Seqs of rejected readings, in increasing order: the device need not send these again. */
  readonly rejected: number[];
  /** No longer in flight: settled, or nacked as retryable. */
  isAnswered: boolean;
}

/**
 * Cumulative acknowledgement of one stream on one socket: computes `upTo` of the next ack.
 *
 * `upTo` claims that every reading received with a seq up to it is settled. Readings in flight and pending resends (nacked as retryable and
 * not sent again yet) hold it back. A claim once made stays true, provided that the device sends new readings in increasing order.
 */
export class StreamAcks {
  #ranges: AckRange[] = [];
  #pendingResends: { first: number; last: number }[] = [];
  #isOrdered = true;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;
  #acked = Number.NEGATIVE_INFINITY;
  /** The last seq that an earlier session settled. */
  readonly #settledBefore: number;
  #repeatDue = false;
  #firstRejected = Number.POSITIVE_INFINITY;
  #isGapless: boolean;
  #next: number | undefined;

  /** @param expectedFirst the seq after the last one that an earlier session of this stream settled, where that is known */
  constructor(expectedFirst?: number) {
    this.#settledBefore = expectedFirst === undefined ? Number.NEGATIVE_INFINITY : expectedFirst - 1;
    this.#isGapless = true;
    this.#next = expectedFirst;
  }

  /** The seq after the highest one received or settled earlier; undefined while none is known. */
  get next(): number | undefined {
    return this.#next;
  }

  get isIdle(): boolean {
    return this.#ranges.length === 0 && this.#pendingResends.length === 0;
  }

  get pendingResendRanges(): number {
    return this.#pendingResends.length;
  }

  /** Readings `first` to `last` were received and are in flight. */
  begin(first: number, last: number): AckRange {
    const range: AckRange = { first, last, rejected: [], isAnswered: false };
    const previous = this.#ranges.at(-1);
    if (previous !== undefined && first <= previous.last) this.#isOrdered = false;
    // Without history the numbers below the first one are unknown, unless it begins the stream: with 0 or 1.
    if (first > (this.#next ?? 1)) this.#isGapless = false;
    this.#next = Math.max(this.#next ?? last + 1, last + 1);
    this.#ranges.push(range);
    if (this.#pendingResends.length > 0) this.#clearPending(first, last);
    this.#lowest = Math.min(this.#lowest, first);
    this.#highest = Math.max(this.#highest, last);
    return range;
  }

  /** The readings are confirmed or rejected: the device need not send them again. */
  settle(range: AckRange): void {
    range.isAnswered = true;
    if (range.last <= this.#acked) this.#repeatDue = true;
    this.#dropAnswered();
  }

  /**
   * The final nack of this reading is its only answer. On this socket the nack is sent before any ack that covers it (see `Outbound.sendAck`).
   * A later session cannot know whether the nack arrived, so its `lastSeq` must not cover the reading.
   */
  noteRejected(range: AckRange, seq: number): void {
    range.rejected.push(seq);
    this.#firstRejected = Math.min(this.#firstRejected, seq);
  }

  /** A frame was rejected as a whole; its readings had a final nack. */
  reject(first: number, last: number): void {
    const range = this.begin(first, last);
    this.noteRejected(range, first);
    this.settle(range);
  }

  /**
   * The readings were nacked as retryable: all but the rejected ones become pending resends. Seqs that were acked before, on this socket or an
   * earlier one, are left out: the device no longer has those readings, and a pending resend would hold back every later ack for ever.
   */
  awaitResend(range: AckRange): void {
    range.isAnswered = true;
    let first = Math.max(range.first, this.#acked + 1, this.#settledBefore + 1);
    for (const seq of [...range.rejected.filter((each) => each >= first), range.last + 1]) {
      if (first < seq) this.#addPending(first, seq - 1);
      first = seq + 1;
    }
    this.#dropAnswered();
  }

  /** The highest seq that an ack may claim now; undefined while no reading is settled. */
  get upTo(): number | undefined {
    let open = Number.POSITIVE_INFINITY;
    for (const { first } of this.#pendingResends) open = Math.min(open, first);
    if (this.#isOrdered) open = Math.min(open, this.#ranges[0]?.first ?? open);
    else for (const range of this.#ranges) if (!range.isAnswered) open = Math.min(open, range.first);
    const upTo = open === Number.POSITIVE_INFINITY ? this.#highest : open - 1;
    return upTo >= this.#lowest ? upTo : undefined;
  }

  /** {@link upTo}, limited to seqs that were received without a gap and before the first rejected one: safe as `lastSeq` of a later session. */
  get gaplessUpTo(): number | undefined {
    const { upTo } = this;
    if (!this.#isGapless || upTo === undefined) return undefined;
    const accepted = Math.min(upTo, this.#firstRejected - 1);
    return accepted >= this.#lowest ? accepted : undefined;
  }

  /** `upTo` of the next ack, each once; undefined while it has not moved and no repeat is due. */
  nextAck(): number | undefined {
    const upTo = this.upTo;
    if (upTo === undefined || (upTo <= this.#acked && !this.#repeatDue)) return undefined;
    this.#repeatDue = false;
    this.#acked = Math.max(this.#acked, upTo);
    return upTo;
  }

  /** `upTo` of the next `stored` message, for devices that asked for it (stored-acks.ts). */
  nextStored(): number | undefined {
    return undefined;
  }

  #dropAnswered(): void {
    let answered = 0;
    while (this.#ranges[answered]?.isAnswered) answered += 1;
    if (answered > 0) this.#ranges.splice(0, answered);
    if (this.#ranges.length === 0) this.#isOrdered = true;
  }

  #addPending(first: number, last: number): void {
    const previous = this.#pendingResends.at(-1);
    if (previous?.last === first - 1) previous.last = last;
    else this.#pendingResends.push({ first, last });
  }

  #clearPending(first: number, last: number): void {
    this.#pendingResends = this.#pendingResends.flatMap((pending) => {
      if (last < pending.first || first > pending.last) return [pending];
      const before = { first: pending.first, last: first - 1 };
      const after = { first: last + 1, last: pending.last };
      return [before, after].filter((part) => part.first <= part.last);
    });
  }
}
