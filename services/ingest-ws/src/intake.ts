import { randomUUID } from 'node:crypto';
import type { Publisher } from '@fleetwire/broker/publisher';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { PublishError } from '@fleetwire/broker/errors';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import type { Logger } from '@fleetwire/runtime/logger';
import { type BatchBounds, MicroBatcher } from '@fleetwire/runtime/micro-batcher';
import type { Tracer } from '@fleetwire/runtime/trace-context';
import { BrokerOutage } from './broker-outage.ts';
import type { IngestMetrics } from './metrics.ts';
import type { Submission } from './reading-outcomes.ts';
import { type NackReason, brokerUnavailable, bufferFull, draining, notConfirmed } from './refusal.ts';
import { beginPublication, beginReception, contentsOf, correlationHeaders, correlationOf } from './tracing.ts';

export interface IntakeOptions {
  readonly connection: BrokerConnection;
  /** Publishes on `connection`. */
  readonly publisher: Publisher;
  readonly bounds: BatchBounds;
  readonly bufferBytesMax: number;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Called with true when sockets must stop reading, with false when they may read again. */
  readonly onCongestion: (isCongested: boolean) => void;
}

/**
 * Collects submissions from all sockets and requests into envelopes, publishes them, and settles each submission: accepted after the
 * broker's confirm, nacked otherwise. While confirms are slow the buffer fills. At half of its limit the sockets are paused; submissions
 * beyond the limit are nacked, so memory stays bounded.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #batcher: MicroBatcher<Submission>;
  readonly #publishing = new Set<Promise<void>>();
  readonly #outage = new BrokerOutage();
  #bufferedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isCongested = false;
  #isDraining = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher(options.bounds);
    options.publisher.onWritableChange(() => this.#flush());
    options.connection.onStateChange((state) => {
      if (state === 'open') this.#outage.end();
      this.#flush();
    });
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
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
    while (this.#publishing.size > 0) await Promise.allSettled(this.#publishing);
    this.#settle(this.#batcher.takeAll(), draining);
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
      this.#publish(this.#batcher.nextBatch(performance.now()));
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

  #publish(batch: Submission[]): void {
    const publishing = this.#publishAndSettle(batch);
    this.#publishing.add(publishing);
    void publishing.finally(() => this.#publishing.delete(publishing));
  }

  async #publishAndSettle(batch: Submission[]): Promise<void> {
    const { publisher, metrics, logger, tracer } = this.#options;
    const id = randomUUID();
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
        headers: { 'x-fleetwire-schema-version': envelopeSchemaVersion, ...correlationHeaders(id, span) },
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
    }
    if (logger.isLevelEnabled('debug'))
      logger.debug(
        { ...correlation, code: nackReason?.().code, contents: contentsOf(batch) },
        nackReason === undefined ? 'envelope confirmed' : 'envelope not confirmed',
      );
    this.#settle(batch, nackReason, isUncertain);
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
