import type { Headers } from '@fleetwire/broker/retry-headers';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Origin } from '@fleetwire/store/books-statements';
import { type BatchBounds, MicroBatcher, type Sized } from '@fleetwire/runtime/micro-batcher';

/** The readings of one message, waiting for their transaction. */
export type Load = Sized & {
  readonly items: readonly IdentifiedReading[];
  /** It shares its transaction with no other message. */
  readonly alone: boolean;
  readonly isLastChance: boolean;
  readonly origin: Origin;
  /** Of its message: the trail of its readings. */
  readonly headers: Headers;
  readonly promise: PromiseWithResolvers<void>;
};

export type BatchLanesOptions = {
  readonly bounds: BatchBounds;
  /** Transactions in flight. */
  readonly lanesMax: number;
  /** Messages that the broker delivers without a verdict: with so many here none can come to keep the others company. */
  readonly messagesMax: number;
  /** Must not throw: it settles each load's promise. */
  readonly run: (batch: readonly Load[]) => Promise<void>;
};

/** After as long beside a transaction in flight a batch need not be full: that one may be stuck. */
const patienceMs = 100;

/**
 * Gathers messages into transactions and runs a bounded number of them side by side. While one is in flight, another begins only when it is
 * full, or when nothing more can arrive: a transaction costs much by itself, two with readings of the same devices wait for each other's
 * locks, and what arrives meanwhile shares the next.
 */
export class BatchLanes {
  readonly #options: BatchLanesOptions;
  readonly #batcher: MicroBatcher<Load>;
  readonly #alone: Load[] = [];
  #running = 0;
  /** Waiting or in a transaction. */
  #messages = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatchLanesOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher(options.bounds);
  }

  /** Transactions in flight. */
  get running(): number {
    return this.#running;
  }

  /** Resolves when the readings are committed; rejects with what their transaction ran into. */
  submit(load: Omit<Load, 'promise' | 'readings'>): Promise<void> {
    this.#messages += 1;
    const waiting = { ...load, readings: load.items.length, promise: Promise.withResolvers<void>() };
    if (load.alone) this.#alone.push(waiting);
    else this.#batcher.add(waiting, performance.now());
    this.#start();
    return waiting.promise.promise;
  }

  #start(): void {
    while (this.#running < this.#options.lanesMax) {
      const alone = this.#alone.shift();
      if (alone !== undefined) this.#run([alone]);
      else if (this.#isDue) this.#run(this.#batcher.take(performance.now()));
      else break;
    }
    this.#schedule();
  }

  #run(batch: readonly Load[]): void {
    this.#running += 1;
    void this.#options.run(batch).finally(() => {
      this.#running -= 1;
      this.#messages -= batch.length;
      this.#start();
    });
  }

  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    return this.#batcher.isFull || this.#messages >= this.#options.messagesMax || performance.now() >= this.#dueAt;
  }

  /** When what waits begins, full or not; never while nothing waits. */
  get #dueAt(): number {
    const { deadline = Number.POSITIVE_INFINITY } = this.#batcher;
    return this.#running === 0 ? deadline : deadline + patienceMs;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    // With every lane taken the next batch grows until one is free.
    if (this.#batcher.isEmpty || this.#running >= this.#options.lanesMax) return;
    this.#timer = setTimeout(() => this.#start(), Math.max(0, Math.ceil(this.#dueAt - performance.now())));
  }
}
