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
  /** What was sent has been acknowledged. */
  readonly onAck?: (group: Group) => void;
}

/** Of a reading's CPU, what comes before its envelope; the rest goes into the answer. */
const receivingShare = 0.5;
/** As intake.ts: spread over one to two times as long. */
const refusedRetryMs = 5_000;

interface Lane {
  readonly queue: WorkQueue;
  readonly batcher: MicroBatcher<Group>;
  isTimerSet: boolean;
}

/** Frames into envelopes, one batch of them for each queue, and acks after the confirm: as intake.ts. */
export class Ingest {
  envelopes = 0;
  nackedReadings = 0;
  bufferedBytesMost = 0;
  readonly #options: IngestOptions;
  readonly #lanes: readonly Lane[];
  #inFlight = 0;
  #bufferedBytes = 0;

  constructor(options: IngestOptions) {
    this.#options = options;
    const bounds = {
      readingsMax: production.envelopeReadingsMax,
      bytesMax: production.envelopeBytesMax,
      lingerMs: options.tuning.envelopeLingerMs,
    };
    this.#lanes = options.queues.map((queue) => ({ queue, batcher: new MicroBatcher(bounds), isTimerSet: false }));
  }

  get thread(): Thread {
    return this.#options.thread;
  }

  /** @param lane of the queue where the devices of these frames belong */
  receive(group: Group, lane: number): void {
    const { thread, cost, clock } = this.#options;
    this.#buffer(group.bytes);
    thread.do((group.readings * cost.perReading * receivingShare) / 1_000, () => {
      this.#lanes[lane]!.batcher.add(group, clock.now);
      this.#flush(this.#lanes[lane]!);
    });
  }

  shakeHands(done: () => void): void {
    this.#options.thread.do(this.#options.handshakeMicros / 1_000, done);
  }

  #flush(lane: Lane): void {
    const { clock } = this.#options;
    while (this.#inFlight < production.publishMessagesInFlightMax && lane.batcher.isDue(clock.now))
      this.#publish(lane, envelopeOf(lane.batcher.take(clock.now)));
    const { deadline } = lane.batcher;
    if (lane.isTimerSet || deadline === undefined || this.#inFlight >= production.publishMessagesInFlightMax) return;
    lane.isTimerSet = true;
    clock.after(Math.max(0, Math.ceil(deadline - clock.now)), () => {
      lane.isTimerSet = false;
      this.#flush(lane);
    });
  }

  #publish(lane: Lane, envelope: Envelope): void {
    const { thread, cost } = this.#options;
    this.#inFlight += 1;
    this.envelopes += 1;
    thread.do(cost.perBatch / 1_000, () =>
      lane.queue.publish(envelope, (isConfirmed) => {
        this.#inFlight -= 1;
        this.#buffer(-envelope.bytes);
        if (isConfirmed) this.#answer(envelope);
        else this.#refuse(envelope, lane);
        for (const each of this.#lanes) this.#flush(each);
      }),
    );
  }

  #answer({ groups, readings }: Envelope): void {
    const { thread, cost, acked, clock, onAck } = this.#options;
    thread.do((readings * cost.perReading * (1 - receivingShare)) / 1_000, () => {
      for (const group of groups) {
        acked.record(clock.now - group.sentAt, group.readings);
        onAck?.(group);
      }
    });
  }

  /** The devices send again what the full queue has refused. */
  #refuse({ groups, readings }: Envelope, lane: Lane): void {
    const { clock, random } = this.#options;
    this.nackedReadings += readings;
    for (const group of groups)
      clock.after(refusedRetryMs * (1 + random()), () => this.receive(group, this.#lanes.indexOf(lane)));
  }

  #buffer(bytes: number): void {
    this.#bufferedBytes += bytes;
    this.bufferedBytesMost = Math.max(this.bufferedBytesMost, this.#bufferedBytes);
  }
}
