import { createHash } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import { type Headers, attemptOf } from '@fleetwire/broker/retry-headers';
import {
  type DeadLetter,
  type DeadLetterReason,
  deadLetterSchemaVersion,
  deadLetterType,
} from '@fleetwire/contracts/dead-letter';
import { type InvalidReading, envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';

/** AMQP header of a retry copy: when the message first failed, epoch milliseconds. */
export const firstFailedAtHeader = 'x-fleetwire-first-failed-at';

export interface FailureHistory {
  readonly attempts: number;
  /** Epoch milliseconds. */
  readonly firstFailedAt: number;
  readonly failedAt: number;
  /** AMQP headers of the message that carried it. */
  readonly headers?: Headers;
}

export interface Failure extends FailureHistory {
  readonly reason: DeadLetterReason;
  readonly error: unknown;
}

/** The history of a message that fails now. */
export function failureHistoryOf({ headers }: Delivery): FailureHistory {
  const failedAt = Date.now();
  const firstFailedAt = headers[firstFailedAtHeader];
  return {
    attempts: attemptOf(headers) + 1,
    firstFailedAt: typeof firstFailedAt === 'number' ? firstFailedAt : failedAt,
    failedAt,
    headers,
  };
}

/** The dead letter of a valid reading. */
export function deadReading(
  { deviceId, epoch, seq, ts, receivedAt, metrics }: IdentifiedReading,
  failure: Failure,
): DeadLetter {
  return deadLetter(
    { deviceId, epoch, seq, receivedAt, payload: JSON.stringify({ seq, ts, metrics }), payloadEncoding: 'json' },
    failure,
  );
}

/** The dead letter of a member of an envelope that breaks the contract. */
export function deadMember(
  { deviceId, epoch, receivedAt, value, issue }: InvalidReading,
  history: FailureHistory,
): DeadLetter {
  const payload = JSON.stringify(value) ?? 'null';
  return deadLetter(
    { deviceId, epoch, receivedAt, payload, payloadEncoding: 'json' },
    { ...history, reason: 'invalid-reading', error: issue },
  );
}

/** The dead letter of a message that is kept as its bytes. */
export function deadMessage(content: Buffer, failure: Failure): DeadLetter {
  return deadLetter({ payload: content.toString('base64'), payloadEncoding: 'base64' }, failure);
}

/**
 * The form of a dead letter whose row Postgres refuses: the bytes of a message, as of a message that cannot be parsed. A reading becomes an
 * envelope again, so that a replay stores it. The time of arrival stays, because reconciliation counts the reading under it.
 */
export function deadLetterAsBytes(letter: DeadLetter, refusal: unknown): DeadLetter {
  const { reason, error, firstFailedAt, lastFailedAt, receivedAt } = letter;
  const { code, message } = describe(refusal);
  return deadLetter(
    {
      payload: messageOf(letter).toString('base64'),
      payloadEncoding: 'base64',
      ...(receivedAt === undefined ? {} : { receivedAt }),
    },
    {
      reason: 'refused-by-database',
      error: { code, message: `dead letter (${reason}, ${error.code}) refused: ${message}` },
      attempts: 1,
      firstFailedAt: storableTime(firstFailedAt),
      failedAt: storableTime(lastFailedAt),
    },
  );
}

function messageOf({ id, deviceId, epoch, receivedAt, payload, payloadEncoding }: DeadLetter): Buffer {
  if (payloadEncoding === 'base64') return Buffer.from(payload, 'base64');
  if (deviceId === undefined || epoch === undefined || receivedAt === undefined) return Buffer.from(payload);
  const outer = { id, type: envelopeType, schemaVersion: envelopeSchemaVersion, occurredAt: receivedAt };
  // As text, because the payload need not be a valid reading.
  const run = `{"deviceId":${JSON.stringify(deviceId)},"epoch":${JSON.stringify(epoch)},"receivedAt":${receivedAt},"readings":[${payload}]}`;
  return Buffer.from(`${JSON.stringify(outer).slice(0, -1)},"runs":[${run}]}`);
}

/** Of a dead letter from elsewhere, the time may be any number. */
function storableTime(epochMs: number): number {
  return epochMs >= 0 && epochMs <= Date.UTC(9_999, 0) ? epochMs : 0;
}

type Content = Pick<DeadLetter, 'payload' | 'payloadEncoding'> &
  Partial<Pick<DeadLetter, 'deviceId' | 'epoch' | 'seq' | 'receivedAt'>>;

/** The id is a digest of content and reason: when the same content fails again, it is the same dead letter with more attempts. */
function deadLetter(
  content: Content,
  { reason, error, attempts, firstFailedAt, failedAt, headers }: Failure,
): DeadLetter {
  const { deviceId, epoch, seq, payload } = content;
  const described = describe(error);
  return {
    id: digest([deviceId, epoch, seq, payload, reason]),
    type: deadLetterType,
    schemaVersion: deadLetterSchemaVersion,
    occurredAt: failedAt,
    reason,
    error: described,
    fingerprint: digest([reason, described.code, withoutParticulars(described.message)]).slice(0, 16),
    attempts,
    firstFailedAt,
    lastFailedAt: failedAt,
    ...(headers === undefined ? {} : { headers: { ...headers } }),
    ...content,
  };
}

function describe(error: unknown): { code: string; message: string } {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return {
    code: typeof code === 'string' ? code : 'unknown',
    message: typeof message === 'string' ? message : String(error),
  };
}

/** Removes numbers and quoted values, which differ between failures of one kind. */
function withoutParticulars(message: string): string {
  return message.replaceAll(/"[^"]*"|'[^']*'/g, '…').replaceAll(/\d+/g, '#');
}

function digest(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
