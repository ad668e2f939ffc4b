import { MicroBatcher } from '@fleetwire/runtime/micro-batcher';
import type { Random } from '../../fleet/random.ts';
import { type Tuning, production } from '../assumptions.ts';
import type { CpuCost } from '../costs.ts';
import type { Clock } from './clock.ts';
import { type Envelope, type Group, envelopeOf } from './group.ts';
import type { Latencies } from './latencies.ts';
import type { Thread } from './machine.ts';
import type { WorkQueue } from './work-queue.ts';

export interface IngestOptions {
  readonly clock: Clock;
  readonly thread: Thread;
  readonly cost: CpuCost;
  readonly handshakeMicros: number;
  readonly tuning: Tuning;
  readonly queues: readonly WorkQueue[];
  readonly acked: Latencies;
  readonly random: Random;
  /** Called when a group has been acknowledged. */
  readonly onAck?: (group: Group) => void;
}

/** Share of a reading's CPU cost before its envelope; the rest is for the ack. */
const receivingShare = 0.5;
/** As in intake.ts: spread over one to two times this time. */
const refusedRetryMs = 5_000;

interface QueueBatcher {
  readonly queue: WorkQueue;
  readonly batcher: MicroBatcher<Group>;
  isTimerSet: boolean;
}

/** ingest-ws: gathers frames into envelopes, with one batch per queue, and acknowledges after the confirm, as intake.ts does. */
export class Ingest {
  envelopes = 0;
  nackedReadings = 0;
  bufferedBytesMost = 0;
  readonly #options: IngestOptions;
  readonly #batchers: readonly QueueBatcher[];
  #inFlight = 0;
  #bufferedBytes = 0;

  constructor(options: IngestOptions) {
    this.#options = options;
    const bounds = {
      readingsMax: production.envelopeReadingsMax,
      bytesMax: production.envelopeBytesMax,
      lingerMs: options.tuning.envelopeLingerMs,
    };
    this.#batchers = options.queues.map((queue) => ({ queue, batcher: new MicroBatcher(bounds), isTimerSet: false }));
  }

  get thread(): Thread {
    return this.#options.thread;
  }

  /** @param queue index of the queue of these devices */
  receive(group: Group, queue: number): void {
    const { thread, cost, clock } = this.#options;
    this.#buffer(group.bytes);
    thread.do((group.readingCount * cost.perReading * receivingShare) / 1_000, () => {
      this.#batchers[queue]!.batcher.add(group, clock.now);
      this.#flush(this.#batchers[queue]!);
    });
  }

  handshake(done: () => void): void {
    this.#options.thread.do(this.#options.handshakeMicros / 1_000, done);
  }

  #flush(to: QueueBatcher): void {
    const { clock } = this.#options;
    while (this.#inFlight < production.publishMessagesInFlightMax && to.batcher.isDue(clock.now))
      this.#publish(to, envelopeOf(to.batcher.nextBatch(clock.now)));
    const { deadline } = to.batcher;
    if (to.isTimerSet || deadline === undefined || this.#inFlight >= production.publishMessagesInFlightMax) return;
    to.isTimerSet = true;
    clock.after(Math.max(0, Math.ceil(deadline - clock.now)), () => {
      to.isTimerSet = false;
      this.#flush(to);
    });
  }

  #publish(to: QueueBatcher, envelope: Envelope): void {
    const { thread, cost } = this.#options;
    this.#inFlight += 1;
    this.envelopes += 1;
    thread.do(cost.perBatch / 1_000, () =>
      to.queue.publish(envelope, (isConfirmed) => {
        this.#inFlight -= 1;
        this.#buffer(-envelope.bytes);
        if (isConfirmed) this.#answer(envelope);
        else this.#refuse(envelope, to);
        for (const each of this.#batchers) this.#flush(each);
      }),
    );
  }

  #answer({ groups, readingCount }: Envelope): void {
    const { thread, cost, acked, clock, onAck } = this.#options;
    thread.do((readingCount * cost.perReading * (1 - receivingShare)) / 1_000, () => {
      for (const group of groups) {
        acked.record(clock.now - group.sentAt, group.readingCount);
        onAck?.(group);
      }
    });
  }

  /** The devices send refused readings again later. */
  #refuse({ groups, readingCount }: Envelope, to: QueueBatcher): void {
    const { clock, random } = this.#options;
    this.nackedReadings += readingCount;
    for (const group of groups)
      clock.after(refusedRetryMs * (1 + random()), () => this.receive(group, this.#batchers.indexOf(to)));
  }

  #buffer(bytes: number): void {
    this.#bufferedBytes += bytes;
    this.bufferedBytesMost = Math.max(this.bufferedBytesMost, this.#bufferedBytes);
  }
}
