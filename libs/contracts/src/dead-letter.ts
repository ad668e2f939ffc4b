import Type, { type Static } from 'typebox';
import { eventAttributes } from './event.ts';
import { parserOf } from './schema-issue.ts';

export const deadLetterType = 'reading.dead-lettered';
export const deadLetterSchemaVersion = '1.0';

/** Why a reading can never be stored as it is. */
export const deadLetterReasons = [
  /** The message is not an envelope, or its major version is not ours. */
  'unreadable',
  /** A member of an envelope breaks the contract. */
  'invalid-reading',
  /** Postgres refuses the data itself. */
  'refused-by-database',
  /** Older than what is kept. */
  'older-than-retention',
  /** An unknown error on every rung of the retry ladder. */
  'retries-exhausted',
  /** Delivered again and again without a verdict: it may be killing the process. */
  'kills-the-worker',
  /** The broker gave up on it. */
  'delivery-limit',
] as const;

export type DeadLetterReason = (typeof deadLetterReasons)[number];

/** A reading (or a message that holds none we can read) kept with its reason, on its way to `dead_letters`. */
export const DeadLetter = Type.Object({
  ...eventAttributes,
  type: Type.Literal(deadLetterType),
  reason: Type.Enum([...deadLetterReasons]),
  error: Type.Object({ code: Type.String(), message: Type.String() }),
  /** The same for failures of one kind: groups are formed by it. */
  fingerprint: Type.String(),
  attempts: Type.Integer({ minimum: 1 }),
  firstFailedAt: Type.Integer(),
  lastFailedAt: Type.Integer(),
  deviceId: Type.Optional(Type.String()),
  epoch: Type.Optional(Type.String()),
  seq: Type.Optional(Type.Integer()),
  receivedAt: Type.Optional(Type.Integer()),
  /** AMQP headers of the message that carried it. */
  headers: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  /** The reading as JSON text, or any bytes in base64. */
  payload: Type.String(),
  payloadEncoding: Type.Union([Type.Literal('json'), Type.Literal('base64')]),
});
export type DeadLetter = Static<typeof DeadLetter>;

export const parseDeadLetter = parserOf(DeadLetter);
