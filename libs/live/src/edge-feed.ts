import type { LiveMessage, LiveRun } from '@fleetwire/contracts/live-message';
import { EdgeInterest } from './edge-interest.ts';
import type { LiveBroker } from './live-broker.ts';
import type { LiveMetrics } from './live-metrics.ts';

/** What became of an envelope: `uncertain` was published without an answer, so it may be stored; `unsent` is not. */
export type EnvelopeOutcome = 'confirmed' | 'uncertain' | 'unsent';

export interface EdgeFeedOptions {
  readonly edge: string;
  readonly broker: LiveBroker;
  readonly logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  readonly metrics: LiveMetrics;
}

const positionIntervalMs = 1_000;
/** Envelopes that are settled while an earlier one is not; live data does not wait for it beyond these. */
const heldEnvelopesMax = 1_000;

/** Publishes what is watched of an edge's envelopes, in the order of their numbers, after the broker has confirmed them. */
export class EdgeFeed {
  readonly #options: EdgeFeedOptions;
  readonly #interest: EdgeInterest;
  readonly #held = new Map<number, { outcome: EnvelopeOutcome; runs: Iterable<LiveRun> }>();
  readonly #applied = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;
  #released = 0;
  #isSkipping = false;
  #isAsking = false;

  constructor(options: EdgeFeedOptions) {
    this.#options = options;
    this.#interest = new EdgeInterest(options.edge);
    options.broker.receiveInterest(
      options.edge,
      (interest) => {
        const wasWatched = this.#interest.isWatched;
        const answer = this.#interest.apply(interest, this.#released, performance.now());
        if (answer !== undefined) this.#publish(answer);
        this.#noteInstances();
        for (const settle of this.#applied) settle();
        if (!wasWatched && this.#interest.isWatched)
          options.logger.info(
            { instance: interest.instanceId, revision: interest.revision },
            'interest received first',
          );
      },
      () => {
        this.#isAsking = true;
        this.#ask();
      },
    );
    this.#timer = setInterval(() => this.#beat(), positionIntervalMs);
  }

  /** Called once for each number, from 1 on, in any order. `runs` are read only where an instance is interested. */
  settle(number: number, outcome: EnvelopeOutcome, runs: Iterable<LiveRun>): void {
    if (number <= this.#released) return;
    if (number !== this.#released + 1) {
      this.#held.set(number, { outcome, runs });
      if (this.#held.size > heldEnvelopesMax) this.#giveUpWaiting();
      return;
    }
    this.#release(number, outcome, runs);
    for (;;) {
      const next = this.#held.get(this.#released + 1);
      if (next === undefined) return;
      this.#held.delete(this.#released + 1);
      this.#release(this.#released + 1, next.outcome, next.runs);
    }
  }

  /** Resolves when what the instance watches with this revision of its interest is published to it, or with the signal. */
  whenApplied(instanceId: string, revision: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        if (!signal.aborted && (this.#interest.revisionOf(instanceId) ?? -1) < revision) return;
        this.#applied.delete(settle);
        signal.removeEventListener('abort', settle);
        resolve();
      };
      this.#applied.add(settle);
      signal.addEventListener('abort', settle);
      settle();
    });
  }

  close(): void {
    clearInterval(this.#timer);
    // What is published after it is found by the next position; there is none.
    this.#beat();
  }

  #release(number: number, outcome: EnvelopeOutcome, runs: Iterable<LiveRun>): void {
    this.#released = number;
    if (!this.#interest.isWatched || outcome === 'unsent') return;
    const messages = this.#interest.publish(number, runs);
    if (outcome === 'uncertain') return;
    for (const message of messages) this.#publish(message);
  }

  /** Live data goes on; what an unsettled envelope holds is a gap to those who watch. */
  #giveUpWaiting(): void {
    const numbers = [...this.#held.keys()].sort((a, b) => a - b);
    for (let number = this.#released + 1; number < numbers[0]!; number += 1) this.#interest.skipAll(number);
    this.#released = numbers[0]! - 1;
    const { outcome, runs } = this.#held.get(numbers[0]!)!;
    this.#held.delete(numbers[0]!);
    this.settle(numbers[0]!, outcome, runs);
  }

  #publish(message: LiveMessage): void {
    const { broker, metrics, logger } = this.#options;
    const isSent = broker.publishLive(message);
    metrics.published.inc({ result: isSent ? 'sent' : 'skipped' });
    if (!isSent && !this.#isSkipping) logger.warn({}, 'live publishing skipped; channel full');
    this.#isSkipping = !isSent;
  }

  /** Else it would hear of the interest only when that is repeated. */
  #ask(): void {
    const { broker, edge } = this.#options;
    if (this.#isAsking) this.#isAsking = !broker.askForInterest(edge);
  }

  #beat(): void {
    this.#ask();
    const { logger } = this.#options;
    for (const instance of this.#interest.expire(performance.now())) logger.info({ instance }, 'interest expired');
    this.#noteInstances();
    const position = this.#interest.position(this.#released);
    if (position !== undefined) this.#publish(position);
  }

  #noteInstances(): void {
    this.#options.metrics.interestInstances.set(this.#interest.instances);
  }
}
