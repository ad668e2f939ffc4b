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

interface Load {
  readonly readings: number;
  readonly bytes: number;
  readonly envelope: Envelope;
  readonly from: WorkQueue;
}

/** Of a reading's CPU, what reading its envelope takes; the rest goes into the transaction. */
const decodingShare = 0.5;

/** Envelopes into transactions, a bounded number of them side by side: as transaction-batcher.ts. */
export class PersistenceWorker {
  storedReadings = 0;
  readonly #options: PersistenceWorkerOptions;
  readonly #batcher = new MicroBatcher<Load>({
    readingsMax: production.batchReadingsMax,
    bytesMax: production.batchBytesMax,
    lingerMs: production.batchLingerMs,
  });
  #held = 0;
  /** Of those, what has been read and waits or is in a transaction. */
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
    thread.do((envelope.readings * cost.perReading * decodingShare + cost.perEnvelope) / 1_000, () => {
      this.#decoded += 1;
      this.#batcher.add({ readings: envelope.readings, bytes: envelope.bytes, envelope, from }, clock.now);
      this.#start();
    });
  }

  #start(): void {
    const { clock } = this.#options;
    while (this.#running < production.transactionsMax && this.#isDue) this.#run(this.#batcher.take(clock.now));
    const dueAt = this.#dueAt;
    if (this.#running >= production.transactionsMax || dueAt >= this.#alarmAt) return;
    this.#alarmAt = dueAt;
    clock.after(Math.max(0, Math.ceil(dueAt - clock.now)), () => {
      this.#alarmAt = Number.POSITIVE_INFINITY;
      this.#start();
    });
  }

  /** As in transaction-batcher.ts: with the prefetch exhausted nothing can come to keep the others company. */
  get #isDue(): boolean {
    if (this.#batcher.isEmpty) return false;
    const { clock, tuning } = this.#options;
    return this.#batcher.isFull || this.#decoded >= tuning.prefetch || clock.now >= this.#dueAt;
  }

  /** As in transaction-batcher.ts: beside a transaction in flight another begins only when it is full, or that one may be stuck. */
  get #dueAt(): number {
    const { deadline = Number.POSITIVE_INFINITY } = this.#batcher;
    return this.#running === 0 ? deadline : deadline + production.stuckTransactionMs;
  }

  #run(batch: readonly Load[]): void {
    const { thread, cost, database } = this.#options;
    const readings = batch.reduce((sum, load) => sum + load.readings, 0);
    this.#running += 1;
    thread.do((readings * cost.perReading * (1 - decodingShare) + cost.perBatch) / 1_000, () =>
      database.write(readings, () => {
        this.#running -= 1;
        this.#held -= batch.length;
        this.#decoded -= batch.length;
        for (const load of batch) this.#finish(load);
        this.#start();
      }),
    );
  }

  #finish({ envelope, from }: Load): void {
    const { stored, clock } = this.#options;
    for (const { readings, sentAt } of envelope.groups) stored.record(clock.now - sentAt, readings);
    this.storedReadings += envelope.readings;
    from.ack(envelope);
  }
}
