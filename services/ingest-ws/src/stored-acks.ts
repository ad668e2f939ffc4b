import { type AckRange, StreamAcks } from './stream-acks.ts';

/** An ack range of a device that hears when its readings are stored. */
export interface StoredRange extends AckRange {
  /** The same readings, on the way from their arrival to the commit; undefined once the session gets acks alone. */
  stored?: AckRange | undefined;
  /** The readings are in an envelope, and {@link StoredAcks.settleStored} follows. */
  isAwaited?: boolean;
}

/**
 * Acks of a stream whose device asked for `acks=stored`: beside the ack, `upTo` of the next `stored` message. It claims that every reading
 * received with a seq up to it is committed, was reported as dead, or had a final nack. Readings on their way and pending resends hold it
 * back, so it is never above the ack. It has no history: what an earlier session settled was confirmed, which is not stored.
 */
export class StoredAcks extends StreamAcks {
  #stored: StreamAcks | undefined = new StreamAcks();

  override begin(first: number, last: number): StoredRange {
    const range: StoredRange = super.begin(first, last);
    range.stored = this.#stored?.begin(first, last);
    return range;
  }

  override noteRejected(range: StoredRange, seq: number): void {
    super.noteRejected(range, seq);
    if (range.stored !== undefined) this.#stored?.noteRejected(range.stored, seq);
  }

  override settle(range: StoredRange): void {
    super.settle(range);
    if (range.isAwaited !== true) this.settleStored(range);
  }

  override awaitResend(range: StoredRange): void {
    super.awaitResend(range);
    if (range.stored !== undefined) this.#stored?.awaitResend(range.stored);
  }

  /** The readings are committed, or reported as dead. Nothing changes if they were nacked before. */
  settleStored({ stored }: StoredRange): void {
    if (stored?.isAnswered === false) this.#stored?.settle(stored);
  }

  /** The readings are in no envelope after all. */
  noLongerAwaited(range: StoredRange): void {
    range.isAwaited = false;
    // Nacked readings without numbers of the device do not come again under theirs.
    if (range.isAnswered) this.settleStored(range);
  }

  /** From now on the device gets acks alone. */
  stopStored(): void {
    this.#stored = undefined;
  }

  override get isIdle(): boolean {
    return super.isIdle && this.#stored?.isIdle !== false;
  }

  override get pendingResendRanges(): number {
    return this.#stored?.pendingResendRanges ?? super.pendingResendRanges;
  }

  override nextStored(): number | undefined {
    return this.#stored?.nextAck();
  }
}
