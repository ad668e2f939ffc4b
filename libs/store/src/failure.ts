import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import pg from 'pg';

/**
 * What to do about a failed write:
 *
 * | Class | Cause | Do |
 * | --- | --- | --- |
 * | `hold` | Postgres cannot write now; nothing is wrong with the batch | wait until it can, then write the batch again |
 * | `retry-now` | a collision with another transaction | write the batch again after some milliseconds |
 * | `bad-data` | Postgres refuses something in the batch, and always will | halve the batch until single readings fail; dead-letter these |
 * | `unknown` | none of these | retry with backoff, a few times |
 */
export type FailureClass = 'hold' | 'retry-now' | 'bad-data' | 'unknown';

/** Some readings of a batch are refused before anything is written; the others can be written without them. */
export abstract class RefusedReadingsError extends Error {
  readonly readings: ReadonlySet<IdentifiedReading>;

  constructor(readings: readonly IdentifiedReading[], message: string) {
    super(message);
    this.readings = new Set(readings);
  }
}

/** Readings that retention would drop immediately, or that are older than any that are accepted. */
export class OlderThanRetentionError extends RefusedReadingsError {
  override readonly name = 'OlderThanRetentionError';
  readonly code = 'older-than-retention';

  /** @param cutoff epoch milliseconds */
  constructor(readings: readonly IdentifiedReading[], cutoff: number) {
    super(
      readings,
      `from before ${new Date(cutoff).toISOString()}, older than the retention (RETENTION_DAYS, READING_AGE_DAYS_MAX)`,
    );
  }
}

/** A device has begun too many epochs within a day; readings of known epochs are stored. */
export class StreamLimitError extends RefusedReadingsError {
  override readonly name = 'StreamLimitError';
  readonly code = 'too-many-streams';

  constructor(readings: readonly IdentifiedReading[], perDeviceDayMax: number) {
    super(
      readings,
      `the device has begun ${perDeviceDayMax} epochs within 24 hours (STREAMS_PER_DEVICE_DAY_MAX); an epoch lasts from one boot to the next. Replay the readings later, or with a higher bound`,
    );
  }
}

/** A stream was forgotten after the writer had looked for it; the next attempt registers it again. */
export class StreamForgottenError extends Error {
  override readonly name = 'StreamForgottenError';
  readonly code = 'stream-forgotten';

  constructor(cause: unknown) {
    super('a stream of readings past retention was forgotten before the batch was written', { cause });
  }
}

/** A partition was dropped after the writer had looked for it; the next attempt creates it. */
export class PartitionMissingError extends Error {
  override readonly name = 'PartitionMissingError';
  readonly code = 'partition-missing';

  constructor(cause: unknown) {
    super('a partition of readings was dropped before the batch was written', { cause });
  }
}

/** Every connection of the pool was in use for too long; it says nothing about the database. */
export class PoolWaitError extends Error {
  override readonly name = 'PoolWaitError';

  constructor(cause: unknown) {
    super('no connection of the pool became free in time', { cause });
  }
}

/** The database lacks migrations of this release; readiness turns on once they are applied. */
export class SchemaNotCurrentError extends Error {
  override readonly name = 'SchemaNotCurrentError';
  readonly code = 'schema-not-current';
  readonly missing: readonly string[];

  constructor(missing: readonly string[]) {
    super(`the database lacks ${missing.join(', ')}; run the migrations`);
    this.missing = missing;
  }
}

/** Settings of the Postgres server break the promise that a committed reading survives a power cut; nothing is written until they are on. */
export class DurabilityError extends Error {
  override readonly name = 'DurabilityError';
  readonly code = 'not-durable';

  /** @param settings their names */
  constructor(settings: readonly string[]) {
    const names = `${settings.join(' and ')} ${settings.length === 1 ? 'is' : 'are'}`;
    const remedy = settings.map((setting) => `ALTER SYSTEM SET ${setting} = on; `).join('');
    super(
      `${names} off on the Postgres server, so committed readings can be lost in a power cut; nothing is stored until ${settings.length === 1 ? 'it is' : 'they are'} on: ${remedy}SELECT pg_reload_conf();`,
    );
  }
}

/** Postgres answered COMMIT with ROLLBACK, and no statement had failed. */
export class TransactionAbortedError extends Error {
  override readonly name = 'TransactionAbortedError';
  readonly code = 'transaction-aborted';

  constructor() {
    super('Postgres rolled the transaction back instead of committing it');
  }
}

/**
 * By SQLSTATE (Postgres documentation, appendix A), by the socket's error code, and by message only where pg, the client library,
 * gives neither.
 */
export function classifyFailure(error: unknown): FailureClass {
  if (error instanceof RefusedReadingsError) return 'bad-data';
  if (error instanceof SchemaNotCurrentError || error instanceof DurabilityError) return 'hold';
  if (error instanceof PoolWaitError) return 'hold';
  if (error instanceof PartitionMissingError || error instanceof StreamForgottenError) return 'retry-now';
  if (error instanceof TransactionAbortedError) return 'retry-now';
  if (error instanceof AggregateError && error.errors.length > 0) return classifyFailure(error.errors[0]);
  if (!(error instanceof Error)) return 'unknown';
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return socketCodes.has(code) ? 'hold' : classifySqlState(code);
  return clientMessages.some((message) => error.message.includes(message)) ? 'hold' : 'unknown';
}

/** Postgres cancelled a statement because it took longer than `statement_timeout`. */
export function isStatementTimeout(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '57014';
}

/** A row found no partition. It shares SQLSTATE 23514 with violated check constraints, but names no constraint. */
export function isPartitionMissing(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '23514' && error.constraint === undefined;
}

/** A row of the sequence ledger names a stream that is no longer registered. */
export function isStreamMissing(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '23503' && error.constraint === 'sequence_blocks_stream';
}

const retryNowStates = new Set(['40001', '40P01', '55P03']);

const holdStates = new Set([
  '25006', // read-only: a standby, or a primary that is being replaced
  '57014', // statement timeout: Postgres is slow, or the statement waits for a lock
  '28000', // credentials or database do not exist (yet): not the fault of a reading
  '28P01',
  '3D000',
  '3F000', // the migrations have not run
  '42P01',
  '42703',
  '42883',
  '42501',
  '2200H', // a sequence of keys is used up
  '25P03', // idle in transaction, idle session, transaction timeout: the worker was too slow
  '57P05',
  '25P04',
]);

function classifySqlState(code: string): FailureClass {
  if (retryNowStates.has(code)) return 'retry-now';
  if (holdStates.has(code)) return 'hold';
  // 08 connection, 53 resources, 57P shutdown and start-up, 58 system (disk).
  if (/^(?:08|53|57P|58)/.test(code)) return 'hold';
  if (code !== '23505' && /^(?:22|23)/.test(code)) return 'bad-data';
  return 'unknown';
}

const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT', // the socket file of a Postgres that is not up
  'EMFILE',
  'ENFILE',
]);

const clientMessages = [
  'Connection terminated',
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Query read timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'The server does not support SSL connections',
];
