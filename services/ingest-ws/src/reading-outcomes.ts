import type { EdgeCounts } from '@fleetwire/contracts/edge-report';
import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import type { Tally } from '@fleetwire/runtime/metrics';
import type { BegunSpan, Context } from '@fleetwire/runtime/trace-context';
import type { ReconciliationCounts } from './reconciliation-counts.ts';
import type { AwaitedRun } from './awaiting-stored.ts';
import type { NackReason } from './nack-reasons.ts';
import type { Arrival, Source } from './tracing.ts';

export const readingCounts = ['received', 'accepted', 'rejected', 'nacked', 'unconfirmed'] as const;

/** Called once: without a reason when the broker has confirmed the readings, else with the reason why they were nacked. */
export type OnSettled = (nackReason: NackReason | undefined) => void;

/**
 * Everything that can become of a reading at the edge, and the only place that counts it: one call counts the outcome in the metric and,
 * under the same name, for reconciliation. This is the edge's part of invariant 9: at any time
 *
 *     received = accepted + rejected + nacked + in flight
 *
 * | Outcome (label of `fleetwire_ingest_readings_total`) | Counted when |
 * | --- | --- |
 * | `rejected` | the reading can never be accepted: {@link reject} counts it as received and as rejected |
 * | `accepted` | the broker has confirmed its envelope |
 * | `nacked` | it was not taken or not confirmed; the device sends it again, and then it is received anew |
 * | `unconfirmed` | as part of `nacked`: it was published without an answer, so the broker may have it |
 *
 * The edge report has no `received`: it is the sum of rejected, accepted and nacked. The readings of a frame
 * whose numbers cannot be read are counted when their numbers are nacked (`Rejections.nackSkipped`); the frame counts in
 * `fleetwire_ingest_refused_frames_total` immediately.
 */
export class ReadingOutcomes {
  readonly #metric: Tally<(typeof readingCounts)[number]>;
  readonly #reconciliation: ReconciliationCounts;

  constructor(metric: Tally<(typeof readingCounts)[number]>, reconciliation: ReconciliationCounts) {
    this.#metric = metric;
    this.#reconciliation = reconciliation;
  }

  /** Readings were received and can never be taken. */
  reject(deviceId: string, receivedAt: number, readingCount: number): void {
    this.#metric.add('received', readingCount);
    this.#count('rejected', deviceId, receivedAt, readingCount);
  }

  /** Readings were received; they are in flight until the submission is accepted or nacked. */
  receive(arrival: Arrival & { readonly bytes: number }, onSettled: OnSettled): Submission {
    const submission = new Submission(arrival, this.#countRuns, onSettled);
    this.#metric.add('received', submission.readingCount);
    return submission;
  }

  /** One closure for all submissions: tens of thousands of frames arrive in a second. */
  readonly #countRuns: CountRuns = (outcome, runs) => {
    for (const { deviceId, receivedAt, readings } of runs) this.#count(outcome, deviceId, receivedAt, readings.length);
  };

  #count(outcome: keyof EdgeCounts, deviceId: string, receivedAt: number, readingCount: number): void {
    this.#metric.add(outcome, readingCount);
    this.#reconciliation.add(outcome, deviceId, receivedAt, readingCount);
  }
}

type CountRuns = (outcome: keyof EdgeCounts, runs: readonly EnvelopeRun[]) => void;

/** Readings with one outcome in common: those of one frame or one HTTP body. They travel in one envelope. */
export class Submission implements Arrival {
  readonly runs: readonly EnvelopeRun[];
  readonly source: Source;
  readonly traceContext: Context | undefined;
  /** Size as received; the buffer's limit counts these. */
  readonly bytes: number;
  readonly readingCount: number;
  /** From arrival to outcome; set where the readings came with a trace. */
  reception: BegunSpan | undefined;
  /** Set where the device hears when its readings are stored. */
  awaited: AwaitedRun | undefined;
  readonly #countRuns: CountRuns;
  readonly #onSettled: OnSettled;
  #isSettled = false;

  constructor(
    { runs, source, traceContext, bytes }: Arrival & { readonly bytes: number },
    countRuns: CountRuns,
    onSettled: OnSettled,
  ) {
    this.runs = runs;
    this.source = source;
    this.traceContext = traceContext;
    this.bytes = bytes;
    this.readingCount = runs.reduce((sum, { readings }) => sum + readings.length, 0);
    this.#countRuns = countRuns;
    this.#onSettled = onSettled;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** The broker has confirmed the readings. */
  accept(): void {
    this.#settle('accepted', undefined);
  }

  /** @param isUncertain they were published without an answer: the broker may have them */
  nack(nackReason: NackReason, isUncertain = false): void {
    if (isUncertain && !this.#isSettled) this.#countRuns('unconfirmed', this.runs);
    this.#settle('nacked', nackReason);
  }

  /** The first outcome counts; any other is ignored. */
  #settle(outcome: 'accepted' | 'nacked', nackReason: NackReason | undefined): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#countRuns(outcome, this.runs);
    this.reception?.end(nackReason?.message);
    this.#onSettled(nackReason);
  }
}
