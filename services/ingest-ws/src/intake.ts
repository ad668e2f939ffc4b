import { randomUUID } from 'node:crypto';
import type { Publisher } from '@fleetwire/broker/publisher';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { PublishError } from '@fleetwire/broker/errors';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import type { nackCodes } from '@fleetwire/contracts/device-protocol';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Accounts } from './accounts.ts';
import type { IngestMetrics } from './metrics.ts';
import { type BatchBounds, MicroBatcher } from '@fleetwire/runtime/micro-batcher';
import type { BegunSpan, Tracer } from '@fleetwire/runtime/trace-context';
import { type Arrival, beginPublication, beginReception, contentsOf, trailHeaders } from './trail.ts';

/** Why readings were not taken this time. All of it is retryable. */
export interface Refusal {
  readonly code: (typeof nackCodes)[number];
  readonly message: string;
  readonly retryAfterMs: number;
}

/** Readings that share a fate: one frame, or one HTTP body. They travel in one envelope. */
export type Submission = Arrival & {
  readonly readings: number;
  /** Size as received; what the buffer's bound counts. */
  readonly bytes: number;
  /** Called once: with nothing when the broker has confirmed, else with the reason. */
  settle(refusal: Refusal | undefined): void;
};

type Taken = Submission & { readonly reception?: BegunSpan };

export interface IntakeOptions {
  readonly connection: BrokerConnection;
  /** Publishes on `connection`. */
  readonly publisher: Publisher;
  readonly bounds: BatchBounds;
  readonly bufferBytesMax: number;
  readonly accounts: Accounts;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Sockets stop and start reading. */
  readonly onCongestion: (isCongested: boolean) => void;
}

/**
 * Gathers readings of all sockets and requests into envelopes and has them confirmed.
 *
 * What was taken is settled by the broker's word alone. When that is slow, the buffer fills: at half of it the sockets are paused, and
 * what still comes when it is full is refused at once, so memory stays bounded.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #batcher: MicroBatcher<Taken>;
  readonly #publishing = new Set<Promise<void>>();
  #bufferedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isCongested = false;
  #isDraining = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher(options.bounds);
    options.publisher.onWritableChange(() => this.#flush());
    options.connection.onStateChange(() => this.#flush());
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Takes the readings, or says at once why not; `settle` is called only for what was taken. */
  submit(submission: Submission): Refusal | undefined {
    const refusal = this.#refusal(submission.bytes);
    if (refusal !== undefined) {
      this.#count('nacked', submission);
      return refusal;
    }
    this.#bufferedBytes += submission.bytes;
    const reception = beginReception(this.#options.tracer, submission);
    this.#batcher.add(reception === undefined ? submission : { ...submission, reception }, performance.now());
    this.#flush();
    return undefined;
  }

  /** Refuses new work, sends what waits without lingering, and returns when everything taken is settled. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#flush();
    // A confirm makes room for the next envelope, which is then under way too.
    while (this.#publishing.size > 0) await Promise.allSettled(this.#publishing);
    this.#refuseWaiting(draining());
  }

  get #isConnected(): boolean {
    const { state } = this.#options.connection;
    return state === 'open' || state === 'blocked';
  }

  #refusal(bytes: number): Refusal | undefined {
    if (this.#isDraining) return draining();
    if (!this.#isConnected) return brokerUnavailable();
    if (this.#bufferedBytes + bytes > this.#options.bufferBytesMax) {
      return {
        code: 'overloaded',
        message: `more than ${this.#options.bufferBytesMax} bytes wait to be confirmed (bufferBytesMax)`,
        retryAfterMs: retryAfterMs(1_000),
      };
    }
    return undefined;
  }

  #flush(): void {
    const { publisher } = this.#options;
    if (!this.#isConnected) this.#refuseWaiting(brokerUnavailable());
    while (publisher.writable && (this.#isDraining ? !this.#batcher.isEmpty : this.#batcher.isDue(performance.now())))
      this.#publish(this.#batcher.take(performance.now()));
    this.#schedule();
    this.#updateCongestion();
  }

  #schedule(): void {
    const { deadline } = this.#batcher;
    // Past its deadline a batch waits for the publisher, which calls when it is writable again.
    if (this.#timer !== undefined || deadline === undefined || !this.#options.publisher.writable) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#flush();
      },
      Math.max(0, Math.ceil(deadline - performance.now())),
    );
  }

  #publish(batch: Taken[]): void {
    const publishing = this.#publishAndSettle(batch);
    this.#publishing.add(publishing);
    void publishing.finally(() => this.#publishing.delete(publishing));
  }

  async #publishAndSettle(batch: Taken[]): Promise<void> {
    const { publisher, metrics, logger, tracer } = this.#options;
    const id = randomUUID();
    const span = beginPublication(tracer, id, batch);
    const trail = { correlationId: id, traceId: span.traceId };
    const stopTimer = metrics.confirmSeconds.startTimer();
    let refusal: Refusal | undefined;
    let isUncertain = false;
    try {
      await publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: id,
        type: envelopeType,
        contentType: 'application/json',
        headers: { 'x-fleetwire-schema-version': envelopeSchemaVersion, ...trailHeaders(id, span) },
        content: encodeEnvelope({
          id,
          type: envelopeType,
          schemaVersion: envelopeSchemaVersion,
          occurredAt: Date.now(),
          runs: batch.flatMap(({ runs }) => runs),
        }),
      });
      stopTimer();
      span.end();
    } catch (error) {
      const kind = error instanceof PublishError ? error.kind : 'failed';
      metrics.publishFailures.inc({ kind });
      if (!(error instanceof PublishError))
        logger.error({ err: error, ...trail }, 'publishing failed for a reason nobody foresaw');
      span.end(error);
      refusal = refusalOf(kind);
      isUncertain = kind === 'confirm-timeout' || kind === 'channel-lost' || kind === 'failed';
    }
    if (logger.isLevelEnabled('debug'))
      logger.debug(
        { ...trail, code: refusal?.code, contents: contentsOf(batch) },
        refusal === undefined ? 'envelope confirmed' : 'envelope not confirmed',
      );
    for (const submission of batch) {
      this.#bufferedBytes -= submission.bytes;
      this.#count(refusal === undefined ? 'accepted' : 'nacked', submission);
      if (isUncertain) this.#count('unconfirmed', submission);
      submission.reception?.end(refusal?.message);
      submission.settle(refusal);
    }
    this.#updateCongestion();
  }

  #refuseWaiting(refusal: Refusal): void {
    for (const submission of this.#batcher.takeAll()) {
      this.#bufferedBytes -= submission.bytes;
      this.#count('nacked', submission);
      submission.reception?.end(refusal.message);
      submission.settle(refusal);
    }
  }

  #count(result: 'accepted' | 'nacked' | 'unconfirmed', { runs }: Submission): void {
    for (const { deviceId, receivedAt, readings } of runs)
      this.#options.accounts.count(result, deviceId, receivedAt, readings.length);
  }

  #updateCongestion(): void {
    const { connection, bufferBytesMax, onCongestion } = this.#options;
    // Without a broker the sockets go on reading: each frame is answered at once with a nack that says when to come again.
    const isCongested =
      this.#isConnected && (connection.state === 'blocked' || this.#bufferedBytes > bufferBytesMax / 2);
    if (isCongested === this.#isCongested) return;
    this.#isCongested = isCongested;
    onCongestion(isCongested);
  }
}

function draining(): Refusal {
  return {
    code: 'draining',
    message: 'this instance is shutting down; connect again',
    retryAfterMs: retryAfterMs(1_000),
  };
}

function brokerUnavailable(): Refusal {
  return {
    code: 'broker-unavailable',
    message: 'the message broker cannot be reached; nothing was taken',
    retryAfterMs: retryAfterMs(2_000),
  };
}

function refusalOf(kind: string): Refusal {
  return kind === 'nacked'
    ? {
        code: 'overloaded',
        message: 'the queue is full; the broker refused the readings',
        retryAfterMs: retryAfterMs(5_000),
      }
    : {
        code: 'broker-unavailable',
        message: `the broker did not confirm the readings (${kind})`,
        retryAfterMs: retryAfterMs(2_000),
      };
}

/** Spread over one to two times `baseMs`, so that a fleet does not come back at one moment. */
function retryAfterMs(baseMs: number): number {
  return Math.round(baseMs * (1 + Math.random()));
}
