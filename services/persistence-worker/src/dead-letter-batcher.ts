import type { DeadLetter } from '@fleetwire/contracts/dead-letter';

export interface DeadLetterBatcherOptions {
  /** Resolves when all of them are committed; else none is. */
  readonly insert: (deadLetters: readonly DeadLetter[]) => Promise<unknown>;
  /** Batches that are being written at the same time. */
  readonly writesMax: number;
}

const batchLettersMax = 500;
const batchCharactersMax = 4 * 1024 * 1024;

interface PendingLetter {
  readonly letter: DeadLetter;
  readonly promise: PromiseWithResolvers<void>;
}

/**
 * Writes dead letters in batches: while some are being written, the next ones gather. Written one by one, a flood of rejected readings would
 * fill the queue of dead letters faster than it is emptied, and the worker waits for room in it.
 */
export class DeadLetterBatcher {
  readonly #options: DeadLetterBatcherOptions;
  #pending: PendingLetter[] = [];
  /** Of the dead letters that are being written. */
  readonly #ids = new Set<string>();
  #running = 0;

  constructor(options: DeadLetterBatcherOptions) {
    this.#options = options;
  }

  /** Resolves when the dead letter is committed; rejects with the failure to write it alone. */
  write(letter: DeadLetter): Promise<void> {
    const promise = Promise.withResolvers<void>();
    this.#pending.push({ letter, promise });
    this.#start();
    return promise.promise;
  }

  #start(): void {
    while (this.#running < this.#options.writesMax) {
      const batch = this.#nextBatch();
      if (batch.length === 0) return;
      this.#running += 1;
      void this.#write(batch).then(() => {
        this.#running -= 1;
        for (const { letter } of batch) this.#ids.delete(letter.id);
        this.#start();
      });
    }
  }

  /** One id is in one write at a time: each arrival of the same reading counts for reconciliation, which compares it with what is stored. */
  #nextBatch(): PendingLetter[] {
    const batch: PendingLetter[] = [];
    const later: PendingLetter[] = [];
    let characters = 0;
    for (const one of this.#pending) {
      const { id, payload } = one.letter;
      const isFull =
        batch.length >= batchLettersMax || (batch.length > 0 && characters + payload.length > batchCharactersMax);
      if (isFull || this.#ids.has(id)) {
        later.push(one);
        continue;
      }
      batch.push(one);
      this.#ids.add(id);
      characters += payload.length;
    }
    this.#pending = later;
    return batch;
  }

  /** Halves what Postgres refuses together, down to the single dead letter. */
  async #write(batch: readonly PendingLetter[]): Promise<void> {
    try {
      await this.#options.insert(batch.map(({ letter }) => letter));
      for (const { promise } of batch) promise.resolve();
    } catch (error) {
      if (batch.length === 1) return batch[0]!.promise.reject(error);
      const middle = Math.ceil(batch.length / 2);
      await this.#write(batch.slice(0, middle));
      await this.#write(batch.slice(middle));
    }
  }
}
