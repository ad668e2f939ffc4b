/** Which reading is dropped when one is offered to a full outbox. */
export type OverflowPolicy = 'drop-oldest' | 'drop-newest';

export interface OutboxOptions {
  /** Maximum number of unsettled readings, sent or waiting. */
  readonly readingsMax: number;
  readonly overflow: OverflowPolicy;
}

/** Bounds of one frame. */
export interface FrameBounds {
  readonly readingsMax: number;
  readonly bytesMax: number;
  /** Maximum number of unsettled readings sent on this connection, over all frames. */
  readonly inFlightMax: number;
}

/** Readings with consecutive numbers, each as JSON text. */
export interface OutgoingRun {
  readonly seq: number;
  readonly texts: readonly string[];
  /** How many of them were sent before, on this connection or an earlier one. */
  readonly resent: number;
}

export interface Settled {
  readonly seq: number;
  readonly sentAt: number;
}

interface Entry {
  readonly seq: number;
  readonly text: string;
  sentAt: number;
  sentBefore: boolean;
  mustRepeat: boolean;
}

/**
 * Unsettled readings in the order of their numbers: first those sent on this connection, then the waiting ones.
 *
 * It has no socket and no clock. A reading that was nacked as retryable stays among the sent ones, because the server's cumulative acks stop
 * before it until it is resent. Therefore only waiting readings are dropped as the oldest.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  #sent: Entry[] = [];
  #waiting: Entry[] = [];
  #toRepeat = 0;
  #lastOffered = Number.NEGATIVE_INFINITY;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sent.length + this.#waiting.length;
  }

  /** Number of readings that can be offered without dropping one. */
  get room(): number {
    return Math.max(0, this.#options.readingsMax - this.size);
  }

  get inFlight(): number {
    return this.#sent.length - this.#toRepeat;
  }

  /**
   * @param seq greater than every one before
   * @returns the number of the reading that had to be dropped, this or an older one
   */
  offer(seq: number, text: string): number | undefined {
    if (seq <= this.#lastOffered) throw new RangeError(`seq ${seq} does not follow ${this.#lastOffered}`);
    this.#lastOffered = seq;
    let dropped: number | undefined;
    if (this.room === 0) {
      if (this.#options.overflow === 'drop-newest' || this.#waiting.length === 0) return seq;
      dropped = this.#waiting.shift()?.seq;
    }
    this.#waiting.push({ seq, text, sentAt: 0, sentBefore: false, mustRepeat: false });
    return dropped;
  }

  /** Takes the next readings to send: first those to repeat, then waiting ones. */
  take(bounds: FrameBounds, now: number): OutgoingRun | undefined {
    const countMax = Math.min(bounds.readingsMax, bounds.inFlightMax - this.inFlight);
    if (countMax <= 0) return undefined;
    return this.#toRepeat > 0
      ? this.#takeRepeated(countMax, bounds.bytesMax, now)
      : this.#takeWaiting(countMax, bounds.bytesMax, now);
  }

  /** Settles all sent readings with a number up to `upTo`. */
  acknowledge(upTo: number): Settled[] {
    let count = 0;
    while (count < this.#sent.length && this.#sent[count]!.seq <= upTo) count += 1;
    const reached = this.#sent.splice(0, count);
    const kept = reached.filter(({ mustRepeat }) => mustRepeat);
    if (kept.length === 0) return reached;
    this.#sent.unshift(...kept);
    return reached.filter(({ mustRepeat }) => !mustRepeat);
  }

  /** Settles readings sent on earlier connections with a number up to `upTo`; call it before `take`. */
  acknowledgeEarlier(upTo: number): number[] {
    const isSettled = ({ seq, sentBefore }: Entry) => sentBefore && seq <= upTo;
    const settled = this.#waiting.filter(isSettled);
    if (settled.length > 0) this.#waiting = this.#waiting.filter((entry) => !isSettled(entry));
    return settled.map(({ seq }) => seq);
  }

  /** Settles readings that had a final nack. @returns the numbers that were still open */
  refuse(seq: number, count: number): number[] {
    const refused = this.#sentBetween(seq, count);
    if (refused.length === 0) return [];
    this.#sent = this.#sent.filter((entry) => entry.seq < seq || entry.seq >= seq + count);
    this.#toRepeat -= refused.filter(({ mustRepeat }) => mustRepeat).length;
    return refused.map((entry) => entry.seq);
  }

  /** @returns number of readings that will be resent */
  repeat(seq: number, count: number): number {
    const entries = this.#sentBetween(seq, count).filter(({ mustRepeat }) => !mustRepeat);
    for (const entry of entries) entry.mustRepeat = true;
    this.#toRepeat += entries.length;
    return entries.length;
  }

  /** The connection is lost: unsettled readings sent on it wait again. */
  disconnect(): void {
    for (const entry of this.#sent) entry.mustRepeat = false;
    this.#waiting = [...this.#sent, ...this.#waiting];
    this.#sent = [];
    this.#toRepeat = 0;
  }

  /** Empties the outbox. @returns the numbers of the readings in it */
  abandon(): number[] {
    this.disconnect();
    return this.#waiting.splice(0).map(({ seq }) => seq);
  }

  #takeWaiting(countMax: number, bytesMax: number, now: number): OutgoingRun | undefined {
    const count = runLength(this.#waiting, 0, countMax, bytesMax);
    const run = this.#waiting.splice(0, count);
    this.#sent.push(...run);
    return outgoing(run, now);
  }

  #takeRepeated(countMax: number, bytesMax: number, now: number): OutgoingRun | undefined {
    const from = this.#sent.findIndex(({ mustRepeat }) => mustRepeat);
    const count = runLength(this.#sent, from, countMax, bytesMax);
    const run = this.#sent.slice(from, from + count);
    for (const entry of run) entry.mustRepeat = false;
    this.#toRepeat -= run.length;
    return outgoing(run, now);
  }

  #sentBetween(seq: number, count: number): Entry[] {
    return this.#sent.filter((entry) => entry.seq >= seq && entry.seq < seq + count);
  }
}

/** Length of the run from `from` on with consecutive numbers and equal `mustRepeat` that fits the bounds; at least 1. */
function runLength(entries: readonly Entry[], from: number, countMax: number, bytesMax: number): number {
  const first = entries[from];
  if (first === undefined) return 0;
  // Counts characters; text beyond ASCII has a few more bytes, which the margin for the frame's own fields covers.
  let bytes = first.text.length + 1;
  let count = 1;
  for (; count < countMax; count += 1) {
    const entry = entries[from + count];
    if (entry === undefined || entry.seq !== first.seq + count || entry.mustRepeat !== first.mustRepeat) break;
    bytes += entry.text.length + 1;
    if (bytes > bytesMax) break;
  }
  return count;
}

function outgoing(run: readonly Entry[], now: number): OutgoingRun | undefined {
  if (run.length === 0) return undefined;
  let resent = 0;
  for (const entry of run) {
    if (entry.sentBefore) resent += 1;
    entry.sentBefore = true;
    entry.sentAt = now;
  }
  return { seq: run[0]!.seq, texts: run.map(({ text }) => text), resent };
}
