import Type, { type Static } from 'typebox';
import { eventAttributes } from './event.ts';
import { parserOf } from './schema-issue.ts';

export const deadLetterType = 'reading.dead-lettered';
export const deadLetterSchemaVersion = '1.0';

/** Why a reading was dead-lettered. */
export const deadLetterReasons = [
  /** The message is not an envelope, or has a major version that this release does not read. */
  'unreadable',
  /** A member of an envelope is not a valid reading. */
  'invalid-reading',
  /** Postgres refuses the data: a rejected reading. */
  'refused-by-database',
  /** Older than the retention period, or than `READING_AGE_DAYS_MAX`. */
  'older-than-retention',
  /** The device began more epochs within a day than it may (`STREAMS_PER_DEVICE_DAY_MAX`). */
  'too-many-streams',
  /** An unknown error in every retry step. */
  'retries-exhausted',
  /** A poison message: redelivered several times without an acknowledgement, so it may crash the worker. */
  'kills-the-worker',
  /** The broker dead-lettered the message at its delivery limit. */
  'delivery-limit',
] as const;

export type DeadLetterReason = (typeof deadLetterReasons)[number];

/** Message that carries one undeliverable reading, or one unreadable message, with its reason to the table `dead_letters`. */
export const DeadLetter = Type.Object({
  ...eventAttributes,
  type: Type.Literal(deadLetterType),
  reason: Type.Enum([...deadLetterReasons]),
  error: Type.Object({ code: Type.String(), message: Type.String() }),
  /** Equal for failures of the same kind; dead letters are grouped by it. */
  fingerprint: Type.String(),
  attempts: Type.Integer({ minimum: 1 }),
  firstFailedAt: Type.Integer(),
  lastFailedAt: Type.Integer(),
  deviceId: Type.Optional(Type.String()),
  epoch: Type.Optional(Type.String()),
  seq: Type.Optional(Type.Integer()),
  receivedAt: Type.Optional(Type.Integer()),
  /** AMQP headers of the message that carried the reading. */
  headers: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  /** The reading as JSON text, or the bytes of an unreadable message in base64. */
  payload: Type.String(),
  payloadEncoding: Type.Union([Type.Literal('json'), Type.Literal('base64')]),
});
export type DeadLetter = Static<typeof DeadLetter>;

export const parseDeadLetter = parserOf(DeadLetter);
