import type { RecordableHistogram } from 'node:perf_hooks';
import type { NackMessage } from '@fleetwire/contracts/device-protocol';
import { ClientJournal } from './journal.ts';
import { type FrameBounds, Outbox, type OutboxOptions, type OutgoingRun } from './outbox.ts';

export type StreamOptions = OutboxOptions & {
  readonly deviceId: string;
  readonly epoch: string;
  /** Number of the first reading that is offered without a number. */
  readonly firstSeq: number;
  /** Records the time from sending to ack of each reading, in microseconds. */
  readonly latency: RecordableHistogram;
};

interface Waiter {
  readonly isDue: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The readings of one device and epoch: numbers them, keeps them until they are settled, and writes the journal. */
export class Stream {
  readonly journal: ClientJournal;
  readonly #outbox: Outbox;
  readonly #latency: RecordableHistogram;
  #nextSeq: number;
  #waiters: Waiter[] = [];
  #failure: Error | undefined;

  constructor(options: StreamOptions) {
    this.journal = new ClientJournal(options.deviceId, options.epoch);
    this.#outbox = new Outbox(options);
    this.#latency = options.latency;
    this.#nextSeq = options.firstSeq;
  }

  get room(): number {
    return this.#outbox.room;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get nextSeq(): number {
    return this.#nextSeq;
  }

  get unsettled(): number {
    return this.#outbox.size;
  }

  /** @returns the reading's number, even if the overflow policy dropped it immediately */
  offer(text: string, seq = this.#nextSeq): number {
    const dropped = this.#outbox.offer(seq, text);
    if (dropped !== undefined) this.journal.givenUp.add(dropped);
    this.#nextSeq = seq + 1;
    return seq;
  }

  take(bounds: FrameBounds, now: number): OutgoingRun | undefined {
    const run = this.#outbox.take(bounds, now);
    if (run === undefined) return undefined;
    this.journal.attempted.add(run.seq, run.seq + run.texts.length - 1);
    this.journal.resentReadings += run.resent;
    this.journal.framesSent += 1;
    return run;
  }

  acknowledge(upTo: number, now: number): void {
    for (const { seq, sentAt } of this.#outbox.acknowledge(upTo)) {
      this.journal.acked.add(seq);
      this.#latency.record(Math.max(1, Math.round((now - sentAt) * 1_000)));
    }
    this.#wake();
  }

  /** Settles by the hello's `lastSeq`. Readings that were never sent are still sent. */
  acknowledgeEarlier(upTo: number): void {
    for (const seq of this.#outbox.acknowledgeEarlier(upTo)) this.journal.acked.add(seq);
    this.#wake();
  }

  refuse(seq: number, count: number, code: NackMessage['code']): void {
    const refused = this.#outbox.refuse(seq, count);
    for (const one of refused) this.journal.refused.add(one);
    this.journal.countNack(code, refused.length);
    this.#wake();
  }

  postpone(seq: number, count: number, code: NackMessage['code']): void {
    this.journal.postponed.add(seq, seq + count - 1);
    this.journal.countNack(code, this.#outbox.repeat(seq, count));
  }

  disconnect(): void {
    this.#outbox.disconnect();
  }

  /** Gives up all unsettled readings. */
  abandon(): void {
    for (const seq of this.#outbox.abandon()) this.journal.givenUp.add(seq);
    this.#wake();
  }

  /** No further connection will be made: rejects the promises of all waiting callers. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  /** Resolves when every offered reading is settled; rejects when the stream has failed. */
  whenSettled(): Promise<void> {
    return this.#when(() => this.#outbox.size === 0);
  }

  /** Resolves when `readings` can be offered without dropping one. */
  whenRoom(readings: number): Promise<void> {
    return this.#when(() => this.#outbox.room >= readings);
  }

  #when(isDue: () => boolean): Promise<void> {
    if (isDue()) return Promise.resolve();
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiters.push({ isDue, resolve, reject }));
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter(({ isDue }) => isDue());
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter));
    for (const { resolve } of due) resolve();
  }
}
