import { authenticationRelations, authenticationVariables } from '@fleetwire/runtime/authentication-variables';
import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { integer, optional, secret, url, urls } from '@fleetwire/runtime/variables';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

export const queryApiVariables = {
  ...serviceVariables,
  ...listenVariables(8081),
  ...authenticationVariables,
  databaseUrl: secret(
    url('DATABASE_URL', {
      protocols: ['postgres', 'postgresql'],
      doc: 'Postgres; a read-only role is enough',
    }),
  ),
  managementUrl: optional(
    secret(
      url('MANAGEMENT_URL', {
        protocols: ['http', 'https'],
        doc: "RabbitMQ's management API, with user and password; source of /queues and /status",
      }),
    ),
  ),
  amqpUrl: optional(
    secret(
      url('AMQP_URL', {
        protocols: ['amqp', 'amqps'],
        doc: 'RabbitMQ, with its virtual host; source of /queues and /status while the management API is unavailable',
      }),
    ),
  ),
  databaseWriteUrl: optional(
    secret(
      url('DATABASE_WRITE_URL', {
        protocols: ['postgres', 'postgresql'],
        doc: 'Postgres as a role that may write dead letters, replays and acknowledgements; DATABASE_URL if unset',
      }),
    ),
  ),
  workerUrls: optional(
    urls('WORKER_URLS', {
      protocols: ['http', 'https'],
      doc: 'Addresses of all persistence-workers; required for the age of the oldest reading in /queues',
    }),
  ),
  poolMax: integer('POOL_MAX', {
    min: 1,
    max: 100,
    default: 8,
    unit: 'connections',
    doc: 'Connections for the latest state, the device registry and lists of dead letters',
  }),
  historyPoolMax: integer('HISTORY_POOL_MAX', {
    min: 1,
    max: 100,
    default: 8,
    unit: 'connections',
    doc: 'Connections for pages of readings; a separate pool, so that other queries do not delay them',
  }),
  scanPoolMax: integer('SCAN_POOL_MAX', {
    min: 1,
    max: 100,
    default: 8,
    unit: 'connections',
    doc: 'Connections for queries that may read many rows for a short answer: readings with metrics, gaps, groups of dead letters, the reconciliation report',
  }),
  writePoolMax: integer('WRITE_POOL_MAX', {
    min: 2,
    max: 100,
    default: 4,
    unit: 'connections',
    doc: 'Connections for decisions about dead letters',
  }),
  statementTimeoutMs: integer('STATEMENT_TIMEOUT_MS', {
    min: 50,
    max: 600_000,
    default: 4_000,
    unit: 'ms',
    doc: 'Postgres cancels a query after this time',
  }),
  breakerTimeoutMs: integer('BREAKER_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'A database call fails and its connection is destroyed after this time',
  }),
  breakerResetMs: integer('BREAKER_RESET_MS', {
    min: 100,
    max: 600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'An open circuit lets one call through after this time',
  }),
  breakerVolumeMin: integer('BREAKER_VOLUME_MIN', {
    min: 1,
    max: 10_000,
    default: 5,
    unit: 'calls',
    doc: 'A circuit opens only if it had at least this many calls in 10 s',
  }),
  callsInFlightMax: integer('CALLS_IN_FLIGHT_MAX', {
    min: 1,
    max: 10_000,
    default: 64,
    unit: 'calls',
    doc: 'Calls of one circuit that run or wait for a connection; further calls get 503 immediately',
  }),
  callsInFlightPerCallerMax: integer('CALLS_IN_FLIGHT_PER_CALLER_MAX', {
    min: 1,
    max: 1_000,
    default: 6,
    unit: 'calls',
    doc: 'Calls of one role and subject at the same time; further ones get 429. Less than every read pool, so that others find a connection',
  }),
  callsInFlightPerDeviceMax: integer('CALLS_IN_FLIGHT_PER_DEVICE_MAX', {
    min: 1,
    max: 1_000,
    default: 2,
    unit: 'calls',
    doc: 'The same for callers of role device',
  }),
  pageBytesMax: integer('PAGE_BYTES_MAX', {
    min: 64 * kibibyte,
    max: 64 * mebibyte,
    default: 8 * mebibyte,
    unit: 'bytes',
    doc: 'Size of one page, about; a page with more ends early, with page.next. A larger single element is returned alone',
  }),
  answerBytesInFlightMax: integer('ANSWER_BYTES_IN_FLIGHT_MAX', {
    min: mebibyte,
    max: 4096 * mebibyte,
    default: 32 * mebibyte,
    unit: 'bytes',
    doc: 'Pages that are being read or sent, over all calls; further ones get 503. The process takes about four times as much memory',
  }),
  staleAnswerBytesMax: integer('STALE_ANSWER_BYTES_MAX', {
    min: 0,
    max: 1024 * mebibyte,
    default: 16 * mebibyte,
    unit: 'bytes',
    doc: 'Pages of the latest state kept for times when the database is unavailable; the least recently used are dropped first',
  }),
  rateLimitPerMinute: integer('RATE_LIMIT_PER_MINUTE', {
    min: 1,
    max: 1_000_000,
    default: 1_200,
    unit: 'requests',
    doc: 'Requests per caller and minute',
  }),
  probeIntervalMs: integer('PROBE_INTERVAL_MS', {
    min: 100,
    max: 60_000,
    default: 2_000,
    unit: 'ms',
    doc: 'How often the database is probed for readiness and /status',
  }),
};

export type QueryApiConfiguration = ConfigurationOf<typeof queryApiVariables>;

const relations = [
  ...authenticationRelations,
  relation(
    queryApiVariables,
    'CALLS_IN_FLIGHT_PER_CALLER_MAX < POOL_MAX, HISTORY_POOL_MAX and SCAN_POOL_MAX',
    ['callsInFlightPerCallerMax', 'poolMax', 'historyPoolMax', 'scanPoolMax'],
    (c) => c.callsInFlightPerCallerMax < Math.min(c.poolMax, c.historyPoolMax, c.scanPoolMax),
  ),
  relation(
    queryApiVariables,
    'CALLS_IN_FLIGHT_PER_DEVICE_MAX ≤ CALLS_IN_FLIGHT_PER_CALLER_MAX',
    ['callsInFlightPerDeviceMax', 'callsInFlightPerCallerMax'],
    (c) => c.callsInFlightPerDeviceMax <= c.callsInFlightPerCallerMax,
  ),
  relation(
    queryApiVariables,
    'ANSWER_BYTES_IN_FLIGHT_MAX ≥ 2 × PAGE_BYTES_MAX',
    ['answerBytesInFlightMax', 'pageBytesMax'],
    (c) => c.answerBytesInFlightMax >= 2 * c.pageBytesMax,
  ),
  relation(
    queryApiVariables,
    'STATEMENT_TIMEOUT_MS < BREAKER_TIMEOUT_MS',
    ['statementTimeoutMs', 'breakerTimeoutMs'],
    (c) => c.statementTimeoutMs < c.breakerTimeoutMs,
  ),
];

/** @throws {ConfigurationError} */
export function readQueryApiConfiguration(environment: Environment): QueryApiConfiguration {
  return readConfiguration(queryApiVariables, environment, relations);
}
