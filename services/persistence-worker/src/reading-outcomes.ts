import type { Delivery } from '@fleetwire/broker/delivery';
import type { RetryingPublish } from '@fleetwire/broker/retrying-publisher';
import { attemptOf, headersOfNextAttempt, isolatedHeader, withoutBrokerHeaders } from '@fleetwire/broker/retry-headers';
import { type RetryStep, exchanges, queues, retryQueue, routingKeys } from '@fleetwire/broker/topology';
import { type DeadLetter, deadLetterType } from '@fleetwire/contracts/dead-letter';
import {
  type DecodedEnvelope,
  encodeEnvelope,
  envelopeSchemaVersion,
  envelopeType,
  runsOf,
} from '@fleetwire/contracts/envelope';
import { headersOfHalf, positionOf } from '@fleetwire/contracts/envelope-position';
import { replayHeader } from '@fleetwire/contracts/event';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Logger } from '@fleetwire/runtime/logger';
import type { BatchWriter, Conflict } from '@fleetwire/store/batch-writer';
import type { SettledEnvelope } from '@fleetwire/store/positions/settled-envelope';
import type { Origin } from '@fleetwire/store/reconciliation-statements';
import { type FailureHistory, firstFailedAtHeader } from './dead-letters.ts';
import type { WorkerMetrics } from './metrics.ts';
import { correlationAndTraceHeaders, correlationOf } from './tracing.ts';

export interface ReadingOutcomesOptions {
  readonly writer: BatchWriter;
  readonly insertDeadLetters: (deadLetters: readonly DeadLetter[]) => Promise<number>;
  readonly publish: RetryingPublish;
  readonly metrics: WorkerMetrics;
  readonly logger: Logger;
}

/** Dead letters of one message that are published at the same time. */
const deadLettersInFlightMax = 32;

/** Between two log lines about conflicting readings; the next line has the count of all since. */
const conflictLogIntervalMs = 10_000;

/**
 * Everything that can become of a reading in this worker, and the only place that counts it. A message is acknowledged only after one of
 * these methods has resolved for each of its readings. Together they are the worker's part of invariant 9:
 * received = stored + duplicate + rejected + dead-lettered + in flight (`rejected` is counted by ingest-ws).
 *
 * | Outcome (label of `fleetwire_worker_readings_total`) | Counted when | Entry for reconciliation |
 * | --- | --- | --- |
 * | `stored` | the transaction has committed | `books_stored`, in that transaction |
 * | `duplicate` | the transaction has committed | `books_duplicates`, in that transaction |
 * | `conflicting` | the same, for a duplicate that was found to differ from the stored reading | the same; a part of the duplicates |
 * | `dead-lettered` | the broker has confirmed the dead letter | `books_dead`, in the statement that inserts it ({@link storeDeadLetters}) |
 * | `retried-later` | the broker has confirmed the copy in a retry queue | none: in flight |
 * | none, for the halves of a poison message | the broker has confirmed both | none: in flight |
 *
 * A message that the broker dead-letters itself (delivery limit) is not counted by a worker; only its entry for reconciliation is made.
 */
export class ReadingOutcomes {
  readonly #options: ReadingOutcomesOptions;
  #stored = 0;
  #unloggedConflicts = 0;
  #nextConflictLogAt = 0;

  constructor(options: ReadingOutcomesOptions) {
    this.#options = options;
  }

  /** Readings that this worker has stored. */
  get stored(): number {
    return this.#stored;
  }

  /**
   * Stores readings in one transaction, all or none.
   * @param deliveries the messages that the readings are from
   * @param mayBeCommitted an earlier try with these readings may have been committed although the answer was lost
   * @param envelopes those that are settled by this transaction
   * @returns the duplicates whose content differs from the stored reading
   * @throws what Postgres or the connection reports (store/failure.ts)
   */
  async store(
    readings: readonly IdentifiedReading[],
    deliveries: readonly Delivery[],
    mayBeCommitted: boolean,
    envelopes: readonly SettledEnvelope[],
  ): Promise<readonly Conflict[]> {
    const { writer, metrics } = this.#options;
    const { stored, duplicates, conflicts } = await writer.write(
      readings,
      originOf(deliveries, mayBeCommitted),
      envelopes,
    );
    this.#stored += stored;
    metrics.readings.inc({ outcome: 'stored' }, stored);
    metrics.readings.inc({ outcome: 'duplicate' }, duplicates - conflicts.length);
    metrics.readings.inc({ outcome: 'conflicting' }, conflicts.length);
    this.#logConflicts(conflicts);
    return conflicts;
  }

  #logConflicts(conflicts: readonly Conflict[]): void {
    const [example] = conflicts;
    this.#unloggedConflicts += conflicts.length;
    const now = performance.now();
    if (example === undefined || now < this.#nextConflictLogAt) return;
    const { deviceId, epoch, seq } = example;
    this.#options.logger.warn(
      {
        conflicting: this.#unloggedConflicts,
        deviceId,
        epoch,
        seq,
        storedTs: new Date(example.storedTs).toISOString(),
        refusedTs: new Date(example.refusedTs).toISOString(),
      },
      'readings with the identity of a stored reading and other content were not stored; the fields name the first one',
    );
    this.#unloggedConflicts = 0;
    this.#nextConflictLogAt = now + conflictLogIntervalMs;
  }

  /** Enters that an envelope is settled: every reading of it is stored, or its dead letter is confirmed. */
  settle(envelope: SettledEnvelope): Promise<void> {
    return this.#options.writer.recordEnvelope(envelope);
  }

  /** Publishes dead letters, each of one reading or of one message that cannot be parsed (which counts as one reading). */
  async deadLetter(deadLetters: readonly DeadLetter[]): Promise<void> {
    // Each confirm takes a write to the broker's disk: one after the other, a thousand take seconds.
    for (let first = 0; first < deadLetters.length; first += deadLettersInFlightMax)
      await Promise.all(
        deadLetters.slice(first, first + deadLettersInFlightMax).map((letter) => this.#publishDeadLetter(letter)),
      );
  }

  async #publishDeadLetter(letter: DeadLetter): Promise<void> {
    const { publish, metrics, logger } = this.#options;
    await publish({
      exchange: exchanges.default,
      routingKey: queues.dead,
      messageId: letter.id,
      type: deadLetterType,
      contentType: 'application/json',
      headers: correlationAndTraceHeaders(letter.headers),
      content: Buffer.from(JSON.stringify(letter)),
    });
    const { id: deadLetterId, reason, deviceId, epoch, seq } = letter;
    logger.debug(
      { ...correlationOf(letter.headers ?? {}), deadLetterId, reason, deviceId, epoch, seq },
      'dead-lettered',
    );
    metrics.deadLetters.inc({ reason: letter.reason });
    metrics.readings.inc({ outcome: 'dead-lettered' });
  }

  /** Inserts dead letters into Postgres, with their entries for reconciliation. @returns how many were new */
  storeDeadLetters(deadLetters: readonly DeadLetter[]): Promise<number> {
    return this.#options.insertDeadLetters(deadLetters);
  }

  /** Publishes a copy of a message to a retry queue, from which the broker returns it to the work queue after the delay of the step. */
  async retryLater(
    { content, headers, messageId, type }: Delivery,
    readings: number,
    { step, history, error }: { readonly step: RetryStep; readonly history: FailureHistory; readonly error: unknown },
  ): Promise<void> {
    const { publish, metrics, logger } = this.#options;
    logger.warn(
      { err: error, step, readings, messageId, ...correlationOf(headers, messageId) },
      'unknown failure; retrying later',
    );
    await publish({
      exchange: exchanges.default,
      routingKey: retryQueue(step),
      messageId: messageId ?? '',
      type: type ?? envelopeType,
      contentType: 'application/json',
      headers: { ...headersOfNextAttempt(headers), [firstFailedAtHeader]: history.firstFailedAt },
      content,
    });
    metrics.readings.inc({ outcome: 'retried-later' }, readings);
    const position = positionOf(headers);
    if (position === undefined) return;
    // Only for the decision when a silent edge has ended; without it, that is taken later.
    await this.#options.writer.recordOpenEnvelope(position).catch((reason: unknown) => {
      logger.warn({ reason: String(reason), messageId }, 'failed to enter that an envelope is retried');
    });
  }

  /** Publishes the two halves of a message to the work queue, to be isolated in turn. */
  async split({ headers }: Delivery, { id, readings }: DecodedEnvelope): Promise<void> {
    const middle = Math.ceil(readings.length / 2);
    for (const [index, half] of [readings.slice(0, middle), readings.slice(middle)].entries()) {
      const messageId = `${id}/${index}`.slice(-64);
      await this.#options.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId,
        type: envelopeType,
        contentType: 'application/json',
        headers: { ...headersOfHalf(withoutBrokerHeaders(headers), index as 0 | 1), [isolatedHeader]: true },
        content: encodeEnvelope({
          id: messageId,
          type: envelopeType,
          schemaVersion: envelopeSchemaVersion,
          occurredAt: Date.now(),
          runs: runsOf(half),
        }),
      });
    }
  }
}

/**
 * Tells reconciliation what the duplicates in a transaction may be. Only the deliveries know it, and only the transaction of the rows can
 * enter it; so it is derived here, immediately before the write, and passed to {@link BatchWriter.write} with the readings.
 */
function originOf(deliveries: readonly Delivery[], mayBeCommitted: boolean): Origin {
  // A replay shares its transaction with no other message (envelope-handler.ts).
  if (deliveries.some(isReplay)) return 'replay';
  return mayBeCommitted || deliveries.some(mayHaveBeenStored) ? 'repeat' : 'first';
}

export function isReplay({ headers }: Delivery): boolean {
  return headers[replayHeader] !== undefined;
}

function mayHaveBeenStored({ headers, redelivered, deliveryCount }: Delivery): boolean {
  return redelivered || deliveryCount > 0 || attemptOf(headers) > 0 || headers[isolatedHeader] === true;
}
