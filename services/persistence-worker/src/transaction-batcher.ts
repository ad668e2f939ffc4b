import type { Delivery } from '@fleetwire/broker/delivery';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type BatchBounds, MicroBatcher, type Sized } from '@fleetwire/runtime/micro-batcher';

/** A reading that Postgres refuses for its content. */
export interface RejectedReading {
  readonly reading: IdentifiedReading;
  readonly error: unknown;
}

/** The readings of one message, waiting for a transaction or in one. */
export interface PendingMessage extends Sized, TransactionRequest {
  /** When the oldest of its readings arrived at the edge, epoch milliseconds. */
  readonly oldestArrivalAt: number;
  readonly promise: PromiseWithResolvers<readonly RejectedReading[]>;
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
  /** Waiting or in a transaction. */
  readonly #pending = new Set<PendingMessage>();
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
    for (const { oldestArrivalAt } of this.#pending) oldest = Math.min(oldest ?? oldestArrivalAt, oldestArrivalAt);
    return oldest;
  }

  /** Resolves with the rejected readings when all others are committed; rejects with the failure of the transaction. */
  submit({ delivery, items, alone, isLastChance }: TransactionRequest): Promise<readonly RejectedReading[]> {
    const pending: PendingMessage = {
      delivery,
      items,
      alone,
      isLastChance,
      readings: items.length,
      bytes: delivery.content.length,
      oldestArrivalAt: oldestArrival(items),
      promise: Promise.withResolvers(),
    };
    this.#pending.add(pending);
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
      for (const message of batch) this.#pending.delete(message);
      this.#start();
    });
  }

  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    return this.#batcher.isFull || this.#pending.size >= this.#options.messagesMax || this.#clock.now >= this.#dueAt;
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
