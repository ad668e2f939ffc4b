import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { integer, optional, secret, url } from '@fleetwire/runtime/variables';
import {
  latestBytesMaxDefault,
  readingAgeDaysMaxDefault,
  shapesMaxDefault,
  shapesPerDeviceMaxDefault,
  streamsPerDeviceDayMaxDefault,
} from '@fleetwire/store/batch-writer';

export const workerVariables = {
  ...serviceVariables,
  ...listenVariables(8082),
  amqpUrl: secret(url('AMQP_URL', { protocols: ['amqp', 'amqps'], doc: 'RabbitMQ, including the virtual host' })),
  databaseUrl: secret(url('DATABASE_URL', { protocols: ['postgres', 'postgresql'], doc: 'Postgres' })),
  prefetch: integer('PREFETCH', {
    min: 1,
    max: 10_000,
    default: 128,
    unit: 'envelopes',
    doc: 'Maximum number of envelopes that are consumed and not acknowledged yet; while Postgres is unavailable, consumption stops there',
  }),
  batchReadingsMax: integer('BATCH_READINGS_MAX', {
    min: 1,
    max: 50_000,
    default: 2_000,
    unit: 'readings',
    doc: 'Readings that make a transaction full; an envelope is never split',
  }),
  batchLingerMs: integer('BATCH_LINGER_MS', {
    min: 0,
    max: 5_000,
    default: 20,
    unit: 'ms',
    doc: 'Minimum interval between transactions unless one is full; envelopes arriving in between share a transaction',
  }),
  batchBytesMax: integer('BATCH_BYTES_MAX', {
    min: 1024,
    max: 256 * 1024 * 1024,
    default: 8 * 1024 * 1024,
    unit: 'bytes',
    doc: 'Bytes of envelopes that make a transaction full',
  }),
  transactionsMax: integer('WRITERS_MAX', {
    min: 1,
    max: 16,
    default: 2,
    unit: 'transactions',
    doc: 'Transactions in flight at the same time, each on its own connection',
  }),
  shapesMax: integer('SHAPES_MAX', {
    min: 1,
    max: 30_000,
    default: shapesMaxDefault,
    unit: 'shapes',
    doc: 'Distinct sets of numeric metric names that get compact rows, over all devices; beyond it, the metrics of a reading are stored as JSON',
  }),
  shapesPerDeviceMax: integer('SHAPES_PER_DEVICE_MAX', {
    min: 1,
    max: 30_000,
    default: shapesPerDeviceMaxDefault,
    unit: 'shapes',
    doc: 'How many of them one device may add; beyond it, metrics of its readings with a new set of names are stored as JSON',
  }),
  latestBytesMax: integer('LATEST_BYTES_MAX', {
    min: 16 * 1024,
    max: 1024 * 1024,
    default: latestBytesMaxDefault,
    unit: 'bytes',
    doc: 'Size of the latest state of one device, which is written again with each of its batches; beyond it, values above 256 bytes are left out first, then the oldest',
  }),
  statementTimeoutMs: integer('STATEMENT_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 30_000,
    unit: 'ms',
    doc: 'Maximum duration of a SQL statement',
  }),
  deadPrefetch: integer('DEAD_PREFETCH', {
    min: 1,
    max: 1_000,
    default: 200,
    unit: 'dead letters',
    doc: 'Maximum number of dead letters that are consumed and not in Postgres yet',
  }),
  confirmTimeoutMs: integer('CONFIRM_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 10_000,
    unit: 'ms',
    doc: 'Maximum wait for the confirm of a retry copy or dead letter before it is published again',
  }),
  amqpHeartbeatSeconds: integer('AMQP_HEARTBEAT_SECONDS', {
    min: 1,
    max: 600,
    default: 10,
    unit: 's',
    doc: 'Interval of the AMQP heartbeat',
  }),
  holdBaseMs: integer('HOLD_BASE_MS', {
    min: 1,
    max: 60_000,
    default: 100,
    unit: 'ms',
    doc: 'Base of the random exponential backoff while Postgres is unavailable, or refuses a dead letter',
  }),
  holdCapMs: integer('HOLD_CAP_MS', {
    min: 1,
    max: 600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'Maximum pause of that backoff',
  }),
  retentionDays: optional(
    integer('RETENTION_DAYS', {
      min: 1,
      max: 36_500,
      unit: 'days',
      doc: 'Age at which readings are deleted; without it they are kept for ever',
    }),
  ),
  minutesRetentionDays: integer('ROLLUP_1M_RETENTION_DAYS', {
    min: 1,
    max: 36_500,
    default: 365,
    unit: 'days',
    doc: 'Days for which rollups of minutes are kept, up to a quarter of a year longer; readings may be deleted before',
  }),
  hoursRetentionDays: integer('ROLLUP_1H_RETENTION_DAYS', {
    min: 1,
    max: 36_500,
    default: 3_650,
    unit: 'days',
    doc: 'The same for rollups of hours',
  }),
  readingAgeDaysMax: integer('READING_AGE_DAYS_MAX', {
    min: 1,
    max: readingAgeDaysMaxDefault,
    default: readingAgeDaysMaxDefault,
    unit: 'days',
    doc: 'Age of the oldest reading that is accepted, by its device time; older ones become dead letters. The default accepts all that the device protocol does, from the year 2000 on',
  }),
  streamsPerDeviceDayMax: integer('STREAMS_PER_DEVICE_DAY_MAX', {
    min: 1,
    max: 1_000_000,
    default: streamsPerDeviceDayMaxDefault,
    unit: 'epochs',
    doc: 'New epochs of one device within 24 hours; readings of further ones become dead letters, which can be replayed later',
  }),
  reconciliationRetentionDays: integer('BOOKS_RETENTION_DAYS', {
    min: 1,
    max: 36_500,
    default: 90,
    unit: 'days',
    doc: 'Days for which the reconciliation report (/ledger) is kept',
  }),
  positionsRetentionDays: integer('POSITIONS_RETENTION_DAYS', {
    min: 1,
    max: 3_650,
    default: 30,
    unit: 'days',
    doc: 'Days for which a watcher can resume at a position, and for which closed edges are known',
  }),
  connectionsRetentionDays: integer('CONNECTIONS_RETENTION_DAYS', {
    min: 1,
    max: 3_650,
    default: 90,
    unit: 'days',
    doc: 'Days for which ended connections of devices are kept',
  }),
  commandsRetentionDays: integer('COMMANDS_RETENTION_DAYS', {
    min: 1,
    max: 3_650,
    default: 90,
    unit: 'days',
    doc: 'Days for which commands are kept after their end, with who sent them and what the device answered',
  }),
  unconfirmedWaitMs: integer('UNCONFIRMED_WAIT_MS', {
    min: 1_000,
    max: 86_400_000,
    default: 600_000,
    unit: 'ms',
    doc: 'How long an envelope that was published without an answer may still arrive: its number is not settled before',
  }),
  deadLetterRetentionDays: integer('DEAD_LETTER_RETENTION_DAYS', {
    min: 1,
    max: 36_500,
    default: 90,
    unit: 'days',
    doc: 'Days after which a dead letter that was stored or discarded is deleted, with its history',
  }),
  replayLeaseMs: integer('REPLAY_LEASE_MS', {
    min: 500,
    max: 600_000,
    default: 15_000,
    unit: 'ms',
    doc: 'Another worker takes over a replay whose worker has not renewed its lease for this long',
  }),
  automaticReplaysMax: integer('AUTOMATIC_REPLAYS_MAX', {
    min: 0,
    max: 100,
    default: 1,
    unit: 'replays',
    doc: 'How often a dead letter that failed for a transient reason is replayed automatically; 0 turns this off',
  }),
  automaticReplayDelayMs: integer('AUTOMATIC_REPLAY_DELAY_MS', {
    min: 0,
    max: 86_400_000,
    default: 60_000,
    unit: 'ms',
    doc: 'Time from the arrival of such a dead letter to its automatic replay',
  }),
  deadLetterOpenRetentionDays: optional(
    integer('DEAD_LETTER_OPEN_RETENTION_DAYS', {
      min: 1,
      max: 36_500,
      unit: 'days',
      doc: 'Days without a new failure after which an open dead letter is deleted; without it, only an operator discards dead letters',
    }),
  ),
};

export type WorkerConfiguration = ConfigurationOf<typeof workerVariables>;

/** @throws ConfigurationError that lists every problem */
export function readWorkerConfiguration(environment: Environment): WorkerConfiguration {
  return readConfiguration(workerVariables, environment, [
    relation(
      workerVariables,
      'PREFETCH ≥ WRITERS_MAX',
      ['prefetch', 'transactionsMax'],
      (c) => c.prefetch >= c.transactionsMax,
    ),
    relation(
      workerVariables,
      'ROLLUP_1H_RETENTION_DAYS ≥ ROLLUP_1M_RETENTION_DAYS',
      ['hoursRetentionDays', 'minutesRetentionDays'],
      (c) => c.hoursRetentionDays >= c.minutesRetentionDays,
    ),
    relation(
      workerVariables,
      'HOLD_CAP_MS ≥ HOLD_BASE_MS',
      ['holdCapMs', 'holdBaseMs'],
      (c) => c.holdCapMs >= c.holdBaseMs,
    ),
  ]);
}
