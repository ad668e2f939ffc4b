import type { Headers } from '@fleetwire/broker/retry-headers';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type BatchBounds, MicroBatcher, type Sized } from '@fleetwire/runtime/micro-batcher';
import type { Origin } from '@fleetwire/store/reconciliation-statements';

/** The readings of one message, waiting for a transaction or in one. */
export interface PendingMessage extends Sized {
  readonly items: readonly IdentifiedReading[];
  /** It shares its transaction with no other message. */
  readonly alone: boolean;
  readonly isLastChance: boolean;
  readonly origin: Origin;
  /** Of its message: they correlate log lines and spans. */
  readonly headers: Headers;
  readonly promise: PromiseWithResolvers<void>;
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
  #running = 0;
  /** Waiting or in a transaction. */
  #messages = 0;
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

  /** Resolves when the readings are committed; rejects with the failure of their transaction. */
  submit(message: Omit<PendingMessage, 'promise' | 'readings'>): Promise<void> {
    this.#messages += 1;
    const pending = { ...message, readings: message.items.length, promise: Promise.withResolvers<void>() };
    if (message.alone) this.#alone.push(pending);
    else this.#batcher.add(pending, this.#clock.now);
    this.#start();
    return pending.promise.promise;
  }

  #start(): void {
    while (this.#running < this.#options.transactionsMax) {
      const alone = this.#alone.shift();
      if (alone !== undefined) this.#run([alone]);
      else if (this.#isDue) this.#run(this.#batcher.take(this.#clock.now));
      else break;
    }
    this.#schedule();
  }

  #run(batch: readonly PendingMessage[]): void {
    this.#running += 1;
    void this.#options.run(batch).finally(() => {
      this.#running -= 1;
      this.#messages -= batch.length;
      this.#start();
    });
  }

  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    return this.#batcher.isFull || this.#messages >= this.#options.messagesMax || this.#clock.now >= this.#dueAt;
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

const systemClock: Clock = {
  get now() {
    return performance.now();
  },
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
