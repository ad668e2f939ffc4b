import type { Delivery } from '@fleetwire/broker/delivery';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Conflict } from '@fleetwire/store/batch-writer';
import { type BatchBounds, MicroBatcher, type Sized } from '@fleetwire/runtime/micro-batcher';

/** A reading that Postgres refuses for its content. */
export interface RejectedReading {
  readonly reading: IdentifiedReading;
  readonly error: unknown;
}

/** What became of the readings of one message: all but the rejected ones are stored. */
export interface StoredMessage {
  readonly rejected: readonly RejectedReading[];
  /** The transaction of the readings has entered the position of their envelope, too. */
  readonly isPositionEntered: boolean;
  /** Of all messages in the transaction: the stored ones that are duplicates with another content. */
  readonly conflicts: readonly Conflict[];
}

interface Arrival {
  /** When the oldest reading of a message arrived at the edge, epoch milliseconds. */
  readonly oldestAt: number;
}

/** The readings of one message, waiting for a transaction or in one. */
export interface PendingMessage extends Sized, TransactionRequest {
  readonly arrival: Arrival;
  readonly promise: PromiseWithResolvers<StoredMessage>;
}

interface TransactionRequest {
  readonly delivery: Delivery;
  readonly items: readonly IdentifiedReading[];
  /** It shares its transaction with no other message. */
  readonly alone: boolean;
  /** The message is retried no more: an unknown failure rejects its readings. */
  readonly isLastChance: boolean;
}

/** Milliseconds on a steady clock, and a timer on the same clock. */
export interface Clock {
  readonly now: number;
  /** @returns what cancels the timer */
  after(delayMs: number, callback: () => void): () => void;
}

export interface TransactionBatcherOptions {
  readonly bounds: BatchBounds;
  /** Transactions in flight. */
  readonly transactionsMax: number;
  /** The prefetch: once all of it is here no more messages can arrive, so waiting for a fuller batch is pointless. */
  readonly messagesMax: number;
  /** Must not throw: it settles the promise of each message. */
  readonly run: (batch: readonly PendingMessage[]) => Promise<void>;
  readonly clock?: Clock;
}

/** A transaction in flight for this much longer than the linger may be stuck: the next one then starts although it is not full. */
const stuckAfterMs = 100;

/**
 * Gathers messages into transactions and runs a bounded number of them side by side. While one is in flight, another starts only when it is
 * full, or when no more messages can arrive: each transaction has a fixed cost, and two with readings of the same devices wait for each
 * other's row locks.
 */
export class TransactionBatcher {
  readonly #options: TransactionBatcherOptions;
  readonly #clock: Clock;
  readonly #batcher: MicroBatcher<PendingMessage>;
  readonly #alone: PendingMessage[] = [];
  /**
   * Of the messages that wait or are in a transaction; not the messages, because the former table of a `Set` that grows keeps what was in it
   * until the old generation is collected: with all readings in it, garbage collection took twice the time.
   */
  readonly #arrivals = new Set<Arrival>();
  #running = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(options: TransactionBatcherOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#batcher = new MicroBatcher(options.bounds);
  }

  /** Transactions in flight. */
  get running(): number {
    return this.#running;
  }

  /** When the oldest reading arrived at the edge that is waiting or in a transaction, epoch milliseconds; undefined when there is none. */
  get oldestArrivalAt(): number | undefined {
    let oldest: number | undefined;
    for (const { oldestAt } of this.#arrivals) oldest = Math.min(oldest ?? oldestAt, oldestAt);
    return oldest;
  }

  /** Resolves when all but the rejected readings are committed; rejects with the failure of the transaction. */
  submit({ delivery, items, alone, isLastChance }: TransactionRequest): Promise<StoredMessage> {
    const pending: PendingMessage = {
      delivery,
      items,
      alone,
      isLastChance,
      readingCount: items.length,
      bytes: delivery.content.length,
      arrival: { oldestAt: oldestArrival(items) },
      promise: Promise.withResolvers(),
    };
    this.#arrivals.add(pending.arrival);
    if (alone) this.#alone.push(pending);
    else this.#batcher.add(pending, this.#clock.now);
    this.#start();
    return pending.promise.promise;
  }

  #start(): void {
    while (this.#running < this.#options.transactionsMax) {
      const alone = this.#alone.shift();
      if (alone !== undefined) this.#run([alone]);
      else if (this.#isDue) this.#run(this.#batcher.nextBatch(this.#clock.now));
      else break;
    }
    this.#schedule();
  }

  #run(batch: readonly PendingMessage[]): void {
    this.#running += 1;
    void this.#options.run(batch).finally(() => {
      this.#running -= 1;
      for (const { arrival } of batch) this.#arrivals.delete(arrival);
      this.#start();
    });
  }

  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    return this.#batcher.isFull || this.#arrivals.size >= this.#options.messagesMax || this.#clock.now >= this.#dueAt;
  }

  /** When the pending messages start, full or not; never while none is pending. */
  get #dueAt(): number {
    const { deadline = Number.POSITIVE_INFINITY } = this.#batcher;
    return this.#running === 0 ? deadline : deadline + stuckAfterMs;
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    // With every transaction slot taken, the next batch grows until one is free.
    if (this.#batcher.isEmpty || this.#running >= this.#options.transactionsMax) return;
    const delayMs = Math.max(0, Math.ceil(this.#dueAt - this.#clock.now));
    this.#cancelTimer = this.#clock.after(delayMs, () => this.#start());
  }
}

function oldestArrival(readings: readonly IdentifiedReading[]): number {
  return readings.reduce((oldest, { receivedAt }) => Math.min(oldest, receivedAt), Number.POSITIVE_INFINITY);
}

const systemClock: Clock = {
  get now() {
    return performance.now();
  },
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
