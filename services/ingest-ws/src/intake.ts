import { randomUUID } from 'node:crypto';
import type { Publisher } from '@fleetwire/broker/publisher';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { PublishError } from '@fleetwire/broker/errors';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import { encodePosition, positionHeader } from '@fleetwire/contracts/envelope-position';
import type { LiveRun } from '@fleetwire/contracts/live-message';
import { storedNoticeHeader } from '@fleetwire/contracts/stored-notice';
import type { EdgeFeed } from '@fleetwire/live/edge-feed';
import type { Logger } from '@fleetwire/runtime/logger';
import { type BatchBounds, MicroBatcher } from '@fleetwire/runtime/micro-batcher';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import { BrokerOutage } from './broker-outage.ts';
import type { AwaitingStored } from './awaiting-stored.ts';
import type { EnvelopeNumbers } from './envelope-numbers.ts';
import type { IngestMetrics } from './metrics.ts';
import type { Submission } from './reading-outcomes.ts';
import {
  type NackReason,
  answerTimeout,
  brokerUnavailable,
  bufferFull,
  draining,
  notConfirmed,
} from './nack-reasons.ts';
import { beginPublication, beginReception, contentsOf, correlationHeaders, correlationOf } from './tracing.ts';

export interface IntakeOptions {
  readonly connection: BrokerConnection;
  /** Publishes on `connection`. */
  readonly publisher: Publisher;
  readonly numbers: EnvelopeNumbers;
  /** Publishes what is watched of each envelope. */
  readonly feed: Pick<EdgeFeed, 'settle'>;
  /** Keeps the envelopes with readings whose devices hear when they are stored. */
  readonly awaiting: Pick<AwaitingStored, 'isAsked' | 'begin' | 'answered'>;
  readonly bounds: BatchBounds;
  readonly bufferBytesMax: number;
  readonly answerTimeoutMs: number;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Called with true when sockets must stop reading, with false when they may read again. */
  readonly onCongestion: (isCongested: boolean) => void;
}

/** How often overdue answers are looked for, in one answer timeout. */
const checksPerTimeout = 8;

interface Publication {
  /**
   * Empty once it is settled. A `Map` that grows leaves its former table in the old generation, and until that is collected the scavenger
   * takes what it refers to for alive: with settled batches in it, ingest-ws used 40 % more CPU time for a reading and 130 MiB more memory.
   */
  batch: readonly Submission[];
  /** When its oldest submission arrived, in milliseconds of the monotonic clock. */
  readonly arrivedAt: number;
}

/**
 * Collects submissions from all sockets and requests into envelopes, publishes them, and settles each submission: accepted after the
 * broker's confirm, nacked otherwise, and in any case within `answerTimeoutMs` of its arrival. While confirms are slow the buffer fills. At half of its limit the sockets are paused; submissions
 * beyond the limit are nacked, so memory stays bounded.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #batcher: MicroBatcher<Submission>;
  readonly #publishing = new Map<Promise<void>, Publication>();
  readonly #outage = new BrokerOutage();
  readonly #overdueTimer: NodeJS.Timeout;
  #bufferedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isCongested = false;
  #isDraining = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher(options.bounds);
    this.#overdueTimer = setInterval(() => this.#answerOverdue(), options.answerTimeoutMs / checksPerTimeout).unref();
    options.publisher.onWritableChange(() => this.#flush());
    options.connection.onStateChange((state) => {
      if (state === 'open') this.#outage.end();
      this.#flush();
    });
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Readings that arrive now can be acknowledged. */
  get isAcknowledging(): boolean {
    return this.#isConnected && !this.#isCongested && !this.#outage.isGoingOn;
  }

  /** Every reading taken that arrived before this time is in an envelope, or was nacked; epoch milliseconds. */
  get numberedBefore(): number {
    return this.#batcher.oldest?.runs[0]?.receivedAt ?? Date.now();
  }

  /** Takes the readings, or nacks them in the same tick. */
  submit(submission: Submission): void {
    const nackReason = this.#nackReason(submission.bytes);
    if (nackReason !== undefined) return submission.nack(nackReason);
    this.#bufferedBytes += submission.bytes;
    submission.reception = beginReception(this.#options.tracer, submission);
    this.#batcher.add(submission, performance.now());
    this.#flush();
  }

  /** Nacks new submissions, publishes queued ones without lingering, and returns when everything taken is settled. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#flush();
    // A confirm makes room for the next envelope, which is then in flight too.
    while (this.#publishing.size > 0) await Promise.allSettled(this.#publishing.keys());
    this.#settle(this.#batcher.takeAll(), draining);
    clearInterval(this.#overdueTimer);
  }

  get #isConnected(): boolean {
    const { state } = this.#options.connection;
    return state === 'open' || state === 'blocked';
  }

  #nackReason(bytes: number): NackReason | undefined {
    const { bufferBytesMax } = this.#options;
    if (this.#isDraining) return draining();
    if (!this.#isConnected) return brokerUnavailable(this.#outage);
    return this.#bufferedBytes + bytes > bufferBytesMax ? bufferFull(bufferBytesMax) : undefined;
  }

  #flush(): void {
    const { publisher } = this.#options;
    if (!this.#isConnected) this.#settle(this.#batcher.takeAll(), () => brokerUnavailable(this.#outage));
    while (publisher.writable && (this.#isDraining ? !this.#batcher.isEmpty : this.#batcher.isDue(performance.now())))
      this.#publish();
    this.#schedule();
    this.#updateCongestion();
  }

  #schedule(): void {
    const { deadline } = this.#batcher;
    // Past its deadline a batch waits for the publisher to become writable, which calls #flush.
    if (this.#timer !== undefined || deadline === undefined || !this.#options.publisher.writable) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#flush();
      },
      Math.max(0, Math.ceil(deadline - performance.now())),
    );
  }

  #publish(): void {
    const now = performance.now();
    const arrivedAt = this.#batcher.oldestAt ?? now;
    const batch = this.#batcher.nextBatch(now);
    const publication: Publication = { batch, arrivedAt };
    const publishing = this.#publishAndSettle(batch).finally(() => {
      publication.batch = [];
      this.#publishing.delete(publishing);
    });
    this.#publishing.set(publishing, publication);
  }

  async #publishAndSettle(batch: Submission[]): Promise<void> {
    const { publisher, numbers, feed, awaiting, metrics, logger, tracer } = this.#options;
    const id = randomUUID();
    const position = numbers.next();
    const isAwaited = awaiting.isAsked && awaiting.begin(position.number, batch);
    const span = beginPublication(tracer, id, batch);
    const correlation = correlationOf(id, span);
    const stopTimer = metrics.confirmSeconds.startTimer();
    let nackReason: (() => NackReason) | undefined;
    let isUncertain = false;
    try {
      await publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: id,
        type: envelopeType,
        contentType: 'application/json',
        headers: {
          'x-fleetwire-schema-version': envelopeSchemaVersion,
          [positionHeader]: encodePosition(position),
          ...(isAwaited ? { [storedNoticeHeader]: true } : {}),
          ...correlationHeaders(id, span),
        },
        content: encodeEnvelope({
          id,
          type: envelopeType,
          schemaVersion: envelopeSchemaVersion,
          occurredAt: Date.now(),
          runs: batch.flatMap(({ runs }) => runs),
        }),
      });
      stopTimer();
      this.#outage.end();
      span.end();
    } catch (error) {
      const kind = error instanceof PublishError ? error.kind : 'failed';
      metrics.publishFailures.inc({ kind });
      if (!(error instanceof PublishError))
        logger.error({ err: error, ...correlation }, 'publish failed with an unexpected error');
      span.end(error);
      nackReason = () => notConfirmed(kind, this.#outage);
      isUncertain = kind === 'confirm-timeout' || kind === 'channel-lost' || kind === 'failed';
      numbers.notConfirmed(position, isUncertain);
    }
    if (logger.isLevelEnabled('debug'))
      logger.debug(
        { ...correlation, code: nackReason?.().code, contents: contentsOf(batch) },
        nackReason === undefined ? 'envelope confirmed' : 'envelope not confirmed',
      );
    this.#settle(batch, nackReason, isUncertain);
    if (isAwaited) awaiting.answered(position.number, nackReason === undefined);
    const outcome = nackReason === undefined ? 'confirmed' : isUncertain ? 'uncertain' : 'unsent';
    feed.settle(position.number, outcome, runsOf(batch));
    this.#updateCongestion();
  }

  /** @param nackReason gives each submission a delay of its own, so that the devices of an envelope do not come back at one moment */
  #settle(batch: readonly Submission[], nackReason: (() => NackReason) | undefined, isUncertain = false): void {
    for (const submission of batch) {
      this.#bufferedBytes -= submission.bytes;
      if (nackReason === undefined) submission.accept();
      else submission.nack(nackReason(), isUncertain);
    }
  }

  /** Nacks queued readings, and published ones, which the broker may still confirm: they are stored once, whether they are sent again or not. */
  #answerOverdue(): void {
    const { answerTimeoutMs, metrics } = this.#options;
    // One interval early: at the next check it would be too late.
    const arrivedBy = performance.now() - answerTimeoutMs * (1 - 1 / checksPerTimeout);
    const nackReason = () => answerTimeout(answerTimeoutMs, this.#outage);
    for (const { batch, arrivedAt } of this.#publishing.values()) {
      // Published in the order of their arrival.
      if (arrivedAt > arrivedBy) break;
      for (const submission of batch) {
        if (submission.isSettled) continue;
        metrics.answerTimeouts.inc(submission.readingCount);
        submission.nack(nackReason(), true);
      }
    }
    const queued = this.#batcher.takeAddedBy(arrivedBy);
    for (const { readingCount } of queued) metrics.answerTimeouts.inc(readingCount);
    this.#settle(queued, nackReason);
    this.#updateCongestion();
  }

  #updateCongestion(): void {
    const { connection, bufferBytesMax, onCongestion } = this.#options;
    // Without a broker the sockets go on reading: each frame is nacked immediately, with the time to send it again.
    const isCongested =
      this.#isConnected && (connection.state === 'blocked' || this.#bufferedBytes > bufferBytesMax / 2);
    if (isCongested === this.#isCongested) return;
    this.#isCongested = isCongested;
    onCongestion(isCongested);
  }
}

/** Read only where an instance is interested. */
function* runsOf(batch: readonly Submission[]): Iterable<LiveRun> {
  for (const { runs, source } of batch) {
    if ('sessionId' in source) yield* runs;
    else for (const run of runs) yield { ...run, source: 'rest' };
  }
}
