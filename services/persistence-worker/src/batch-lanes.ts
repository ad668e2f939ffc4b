import type { Headers } from '@fleetwire/broker/retry-headers';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Origin } from '@fleetwire/store/books-statements';
import { type BatchBounds, MicroBatcher, type Sized } from '@fleetwire/service-kit/micro-batcher';

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
  /** Must not throw: it settles each load's promise. */
  readonly run: (batch: readonly Load[]) => Promise<void>;
};

/**
 * Gathers messages into transactions and runs a bounded number of them side by side. While one is in flight, another begins only when it is
 * full: a transaction costs much by itself, and what arrives meanwhile shares the next.
 */
export class BatchLanes {
  readonly #options: BatchLanesOptions;
  readonly #batcher: MicroBatcher<Load>;
  readonly #alone: Load[] = [];
  #running = 0;
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
      else if (this.#running === 0 ? this.#batcher.isDue(performance.now()) : this.#batcher.isFull)
        this.#run(this.#batcher.take());
      else break;
    }
    this.#schedule();
  }

  #run(batch: readonly Load[]): void {
    this.#running += 1;
    void this.#options.run(batch).finally(() => {
      this.#running -= 1;
      this.#start();
    });
  }

  #schedule(): void {
    const { deadline } = this.#batcher;
    if (this.#timer !== undefined || deadline === undefined || this.#running > 0) return;
    const waitMs = Math.max(0, Math.ceil(deadline - performance.now()));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, waitMs);
  }
}
