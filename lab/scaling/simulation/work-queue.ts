import type { Random } from '../../fleet/random.ts';
import { production } from '../assumptions.ts';
import { type CpuCost, cpuMicros } from '../costs.ts';
import type { Clock } from './clock.ts';
import type { Envelope } from './group.ts';
import type { Thread } from './machine.ts';
import type { PersistenceWorker } from './persistence-worker.ts';
import { type Wait, drawMs } from './draws.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly leader: Thread;
  readonly cost: CpuCost;
  /** From the leader's work until the publisher has the confirm: a majority has written the message to disk. */
  readonly confirm: Wait;
  readonly random: Random;
}

interface Publication {
  readonly envelope: Envelope;
  readonly settle: (isConfirmed: boolean) => void;
}

/** A bounded quorum queue: its leader handles messages one after the other; without a leader they wait. */
export class WorkQueue {
  bytesMost = 0;
  messagesMost = 0;
  readingsMost = 0;
  readonly #options: WorkQueueOptions;
  readonly #workers: PersistenceWorker[] = [];
  #waiting: Envelope[] = [];
  #next = 0;
  #held: Publication[] | undefined;
  #bytes = 0;
  #messages = 0;
  #readings = 0;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  get readings(): number {
    return this.#readings;
  }

  get leader(): Thread {
    return this.#options.leader;
  }

  addWorker(worker: PersistenceWorker): void {
    this.#workers.push(worker);
  }

  publish(envelope: Envelope, settle: Publication['settle']): void {
    if (this.#held !== undefined) {
      this.#held.push({ envelope, settle });
      return;
    }
    const { leader, cost, clock, confirm, random } = this.#options;
    leader.do(cpuMicros(cost, envelope.readingCount) / 1_000, () => {
      const isAccepted =
        this.#messages < production.queueMessagesMax && this.#bytes + envelope.bytes <= production.queueBytesMax;
      if (isAccepted) this.#count(envelope, 1);
      clock.after(drawMs(confirm, random), () => {
        settle(isAccepted);
        if (!isAccepted) return;
        this.#waiting.push(envelope);
        this.deliver();
      });
    });
  }

  /** Messages published during the election are confirmed after it. */
  loseLeader(forMs: number): void {
    this.#held ??= [];
    this.#options.clock.after(forMs, () => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const { envelope, settle } of held) this.publish(envelope, settle);
      this.deliver();
    });
  }

  /** Delivers waiting envelopes to the oldest worker that has room (consumer priority). */
  deliver(): void {
    while (this.#next < this.#waiting.length && this.#held === undefined) {
      const worker = this.#workers.find(({ hasRoom }) => hasRoom);
      if (worker === undefined) return;
      const envelope = this.#waiting[this.#next]!;
      this.#next += 1;
      worker.take(envelope, this);
    }
    this.#waiting = this.#waiting.slice(this.#next);
    this.#next = 0;
  }

  ack(envelope: Envelope): void {
    this.#count(envelope, -1);
    this.deliver();
  }

  #count({ bytes, readingCount }: Envelope, sign: 1 | -1): void {
    this.#bytes += sign * bytes;
    this.#messages += sign;
    this.messagesMost = Math.max(this.messagesMost, this.#messages);
    this.#readings += sign * readingCount;
    this.bytesMost = Math.max(this.bytesMost, this.#bytes);
    this.readingsMost = Math.max(this.readingsMost, this.#readings);
  }
}
