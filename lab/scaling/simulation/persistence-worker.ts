import { MicroBatcher } from '@fleetwire/runtime/micro-batcher';
import { type Tuning, production } from '../assumptions.ts';
import type { PathCosts } from '../costs.ts';
import type { Clock } from './clock.ts';
import type { Database } from './database.ts';
import type { Envelope } from './group.ts';
import type { Latencies } from './latencies.ts';
import type { Thread } from './machine.ts';
import type { WorkQueue } from './work-queue.ts';

export interface PersistenceWorkerOptions {
  readonly clock: Clock;
  readonly thread: Thread;
  readonly cost: PathCosts['worker'];
  readonly database: Database;
  readonly tuning: Tuning;
  readonly stored: Latencies;
}

interface PendingMessage {
  readonly readingCount: number;
  readonly bytes: number;
  readonly envelope: Envelope;
  readonly from: WorkQueue;
}

/** Share of a reading's CPU cost for decoding its envelope; the rest is for the transaction. */
const decodingShare = 0.5;

/** Gathers envelopes into transactions, a bounded number of them in parallel, as transaction-batcher.ts does. */
export class PersistenceWorker {
  storedReadings = 0;
  readonly #options: PersistenceWorkerOptions;
  readonly #batcher = new MicroBatcher<PendingMessage>({
    readingsMax: production.batchReadingsMax,
    bytesMax: production.batchBytesMax,
    lingerMs: production.batchLingerMs,
  });
  #held = 0;
  /** Held envelopes that are decoded and wait for a transaction or are in one. */
  #decoded = 0;
  #running = 0;
  #alarmAt = Number.POSITIVE_INFINITY;

  constructor(options: PersistenceWorkerOptions) {
    this.#options = options;
  }

  get hasRoom(): boolean {
    return this.#held < this.#options.tuning.prefetch;
  }

  get thread(): Thread {
    return this.#options.thread;
  }

  take(envelope: Envelope, from: WorkQueue): void {
    this.#held += 1;
    const { thread, cost, clock } = this.#options;
    thread.do((envelope.readingCount * cost.perReading * decodingShare + cost.perEnvelope) / 1_000, () => {
      this.#decoded += 1;
      this.#batcher.add({ readingCount: envelope.readingCount, bytes: envelope.bytes, envelope, from }, clock.now);
      this.#start();
    });
  }

  #start(): void {
    const { clock } = this.#options;
    while (this.#running < production.transactionsMax && this.#isDue) this.#run(this.#batcher.nextBatch(clock.now));
    const dueAt = this.#dueAt;
    if (this.#running >= production.transactionsMax || dueAt >= this.#alarmAt) return;
    this.#alarmAt = dueAt;
    clock.after(Math.max(0, Math.ceil(dueAt - clock.now)), () => {
      this.#alarmAt = Number.POSITIVE_INFINITY;
      this.#start();
    });
  }

  /** As in transaction-batcher.ts: with the prefetch exhausted, no more messages can arrive, so a batch does not linger. */
  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    const { clock, tuning } = this.#options;
    return this.#batcher.isFull || this.#decoded >= tuning.prefetch || clock.now >= this.#dueAt;
  }

  /** As in transaction-batcher.ts: beside a transaction in flight, another begins only when it is full or the first may be stuck. */
  get #dueAt(): number {
    const { deadline = Number.POSITIVE_INFINITY } = this.#batcher;
    return this.#running === 0 ? deadline : deadline + production.stuckTransactionMs;
  }

  #run(batch: readonly PendingMessage[]): void {
    const { thread, cost, database } = this.#options;
    const readings = batch.reduce((sum, message) => sum + message.readingCount, 0);
    this.#running += 1;
    thread.do((readings * cost.perReading * (1 - decodingShare) + cost.perBatch) / 1_000, () =>
      database.write(readings, () => {
        this.#running -= 1;
        this.#held -= batch.length;
        this.#decoded -= batch.length;
        for (const message of batch) this.#finish(message);
        this.#start();
      }),
    );
  }

  #finish({ envelope, from }: PendingMessage): void {
    const { stored, clock } = this.#options;
    for (const { readingCount, sentAt } of envelope.groups) stored.record(clock.now - sentAt, readingCount);
    this.storedReadings += envelope.readingCount;
    from.ack(envelope);
  }
}
