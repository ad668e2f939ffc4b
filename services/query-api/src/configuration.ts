import { authenticationRelations, authenticationVariables } from '@fleetwire/runtime/authentication-variables';
import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { liveRelations, liveVariables } from '@fleetwire/live/live-variables';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { choice, integer, optional, secret, string, url, urls } from '@fleetwire/runtime/variables';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
/** Of one upload, by the S3 API. */
const s3PartsMax = 10_000;

export const queryApiVariables = {
  ...serviceVariables,
  ...listenVariables(8081),
  ...authenticationVariables,
  ...liveVariables,
  sseStreamsPerCallerMax: integer('SSE_STREAMS_PER_CALLER_MAX', {
    min: 1,
    max: 10_000,
    default: 20,
    unit: 'streams',
    doc: 'Live streams (GET /live) of one role and subject at the same time; further ones get 429. They are not calls in flight',
  }),
  sessionSecondsMax: integer('SESSION_SECONDS_MAX', {
    min: 60,
    max: 366 * 24 * 3_600,
    default: 12 * 3_600,
    unit: 's',
    doc: 'How long a session of a browser lasts; it ends with the token that began it at the latest',
  }),
  sessionsPerSubjectMax: integer('SESSIONS_PER_SUBJECT_MAX', {
    min: 1,
    max: 10_000,
    default: 20,
    unit: 'sessions',
    doc: 'Sessions of one role and subject, and as many one-time codes; a further one ends the one that was used least recently',
  }),
  sessionsMax: integer('SESSIONS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 10_000,
    unit: 'sessions',
    doc: 'Sessions of all; a further sign-in gets 503',
  }),
  dashboardDir: optional(
    string('DASHBOARD_DIR', {
      doc: 'Folder with the built dashboard, which is served at /; by default apps/dashboard/dist of this installation. Read at the start',
    }),
  ),
  guideDir: optional(
    string('GUIDE_DIR', {
      doc: 'Folder with the built documents, which are served at /guide/; by default .fleetwire/guide of this installation, where `npm run docs` builds them',
    }),
  ),
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
        doc: 'RabbitMQ, with its virtual host; source of /queues and /status while the management API is unavailable; required for live data and for waiting for the end of commands',
      }),
    ),
  ),
  databaseWriteUrl: optional(
    secret(
      url('DATABASE_WRITE_URL', {
        protocols: ['postgres', 'postgresql'],
        doc: 'Postgres as a role that may write dead letters, replays, acknowledgements, commands and the device registry; DATABASE_URL if unset',
      }),
    ),
  ),
  databaseReadUrl: optional(
    secret(
      url('DATABASE_READ_URL', {
        protocols: ['postgres', 'postgresql'],
        doc: 'A hot standby of the database of DATABASE_URL, for questions about series; while it is too far behind or away, DATABASE_URL is asked',
      }),
    ),
  ),
  readReplicaLagMsMax: integer('READ_REPLICA_LAG_MAX_MS', {
    min: 500,
    max: 3_600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'How far the database of DATABASE_READ_URL may be behind; answers say how far it was (covers.replicaLagMs)',
  }),
  workerUrls: optional(
    urls('WORKER_URLS', {
      protocols: ['http', 'https'],
      doc: 'Addresses of all persistence-workers; required for the age of the oldest reading in /queues',
    }),
  ),
  ingestUrl: optional(
    url('INGEST_URL', {
      protocols: ['http', 'https'],
      doc: 'Address of ingest-ws, or of a proxy in front of several; required for adding readings with PATCH /devices/{id}/data and POST /devices/{id}/history',
    }),
  ),
  commandsPendingPerDeviceMax: integer('COMMANDS_PENDING_PER_DEVICE_MAX', {
    min: 1,
    max: 10_000,
    default: 100,
    unit: 'commands',
    doc: 'Commands of one device that have not ended; further ones get 429. Calls at the same moment may exceed it by one each, and commands to many devices are not counted',
  }),
  commandTimeoutMsMax: integer('COMMAND_TIMEOUT_MS_MAX', {
    min: 1_000,
    max: 3_600_000,
    default: 300_000,
    unit: 'ms',
    doc: 'Longest time that a command may give its device to answer (timeoutMs)',
  }),
  commandTargetsMax: integer('COMMAND_TARGETS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 20_000,
    unit: 'devices',
    doc: 'Devices of one command to many; a target that matches more gets 422. All are entered in one statement, within STATEMENT_TIMEOUT_MS',
  }),
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
  livePoolMax: integer('LIVE_POOL_MAX', {
    min: 1,
    max: 100,
    default: 8,
    unit: 'connections',
    doc: 'Connections for streams of live history, each of which holds one until it ends, and for positions',
  }),
  exportStreamsMax: integer('EXPORT_STREAMS_MAX', {
    min: 1,
    max: 100,
    default: 4,
    unit: 'streams',
    doc: 'Exports that are sent at the same time, each with a connection and about 20 MB of memory; further ones get 503',
  }),
  exportStreamsPerCallerMax: integer('EXPORT_STREAMS_PER_CALLER_MAX', {
    min: 1,
    max: 100,
    default: 1,
    unit: 'streams',
    doc: 'The same for one role and subject; further ones get 429',
  }),
  exportMsMax: integer('EXPORT_MS_MAX', {
    min: 1_000,
    max: 86_400_000,
    default: 900_000,
    unit: 'ms',
    doc: 'How long an export may take, with its client; it is cut then, and Postgres cancels its statement',
  }),
  exportStalledMsMax: integer('EXPORT_STALLED_MS_MAX', {
    min: 100,
    max: 3_600_000,
    default: 30_000,
    unit: 'ms',
    doc: 'How long the client of an export may take nothing of it; it is cut then',
  }),
  exportsDir: optional(
    string('EXPORTS_DIR', {
      doc: 'Folder for the files of export jobs, made if missing; without it, and without EXPORT_S3_BUCKET, there are none (501). Several instances may share one, on a file system with atomic renames',
    }),
  ),
  exportS3Bucket: optional(
    string('EXPORT_S3_BUCKET', {
      doc: 'Bucket for the files of export jobs, in place of EXPORTS_DIR; it exists already. All instances share it. Required with it: endpoint, key and secret',
    }),
  ),
  exportS3Endpoint: optional(
    url('EXPORT_S3_ENDPOINT', {
      protocols: ['http', 'https'],
      doc: 'Address of the storage, without the bucket: https://s3.eu-central-1.amazonaws.com, https://minio:9000',
    }),
  ),
  exportS3Region: string('EXPORT_S3_REGION', {
    default: 'us-east-1',
    doc: 'Region for which requests are signed; many storages take any',
  }),
  exportS3AccessKeyId: optional(
    secret(
      string('EXPORT_S3_ACCESS_KEY_ID', {
        doc: 'Access key; it may list the bucket, and read, write and delete below the prefix',
      }),
    ),
  ),
  exportS3SecretAccessKey: optional(secret(string('EXPORT_S3_SECRET_ACCESS_KEY', { doc: 'Its secret' }))),
  exportS3Prefix: string('EXPORT_S3_PREFIX', {
    default: 'fleetwire-exports/',
    doc: 'Begins the keys of all objects. No two installations may have the same one in a bucket: each removes files that are not of its jobs',
  }),
  exportS3Addressing: choice('EXPORT_S3_ADDRESSING', ['path', 'host'], {
    default: 'path',
    doc: 'Where the bucket is in a URL: https://storage/bucket or https://bucket.storage',
  }),
  exportS3PublicEndpoint: optional(
    url('EXPORT_S3_PUBLIC_ENDPOINT', {
      protocols: ['http', 'https'],
      doc: 'Address at which clients reach the storage. With it a job that has succeeded has _links.address: who knows it may read the file until the job expires, without a token',
    }),
  ),
  exportS3PartBytes: integer('EXPORT_S3_PART_BYTES', {
    min: 5 * mebibyte,
    max: 1024 * mebibyte,
    default: 8 * mebibyte,
    unit: 'bytes',
    doc: 'Size of a part of an upload; a file has 10,000 parts at most',
  }),
  exportS3PartsInFlightMax: integer('EXPORT_S3_PARTS_IN_FLIGHT_MAX', {
    min: 1,
    max: 16,
    default: 2,
    unit: 'parts',
    doc: 'Parts of one file that are sent at the same time. A job that runs has up to twice these, and one more, in memory',
  }),
  exportS3RequestMsMax: integer('EXPORT_S3_REQUEST_MS_MAX', {
    min: 100,
    max: 3_600_000,
    default: 60_000,
    unit: 'ms',
    doc: 'How long one request to the storage may take, with a part',
  }),
  exportS3RetryMsMax: integer('EXPORT_S3_RETRY_MS_MAX', {
    min: 0,
    max: 3_600_000,
    default: 120_000,
    unit: 'ms',
    doc: 'How long a job repeats a request while the storage is away; then its attempt fails, and another one begins',
  }),
  exportJobsRunningMax: integer('EXPORT_JOBS_RUNNING_MAX', {
    min: 1,
    max: 16,
    default: 1,
    unit: 'jobs',
    doc: 'Export jobs that this instance runs at the same time, each with a connection and most of a core; others are queued',
  }),
  exportJobsPerCallerMax: integer('EXPORT_JOBS_PER_CALLER_MAX', {
    min: 1,
    max: 1_000,
    default: 10,
    unit: 'jobs',
    doc: 'Export jobs of one role and subject that are pending or have a file, on all instances; further ones get 429',
  }),
  exportJobsPendingMax: integer('EXPORT_JOBS_PENDING_MAX', {
    min: 1,
    max: 100_000,
    default: 100,
    unit: 'jobs',
    doc: 'Export jobs that are queued or running, of all callers and instances; further ones get 503',
  }),
  exportJobMsMax: integer('EXPORT_JOB_MS_MAX', {
    min: 1_000,
    max: 20 * 3_600_000,
    default: 6 * 3_600_000,
    unit: 'ms',
    doc: 'How long one attempt of an export job may take; it fails then, and Postgres cancels its statement',
  }),
  exportBytesMax: integer('EXPORT_BYTES_MAX', {
    min: mebibyte,
    max: 1024 * 1024 * 1024 * kibibyte,
    default: 10 * 1024 * mebibyte,
    unit: 'bytes',
    doc: 'Size of all files in EXPORTS_DIR or EXPORT_S3_BUCKET, also of those that other instances write, but for what they have written in the last second; beyond it a job fails, and a new one gets 507',
  }),
  exportRetentionHours: integer('EXPORT_RETENTION_HOURS', {
    min: 1,
    max: 8_760,
    default: 24,
    unit: 'hours',
    doc: 'How long the file of an export job is kept after its end',
  }),
  writePoolMax: integer('WRITE_POOL_MAX', {
    min: 2,
    max: 100,
    default: 4,
    unit: 'connections',
    doc: 'Connections for decisions about dead letters, commands and changes of the device registry',
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
  queryCostMax: integer('QUERY_COST_MAX', {
    min: 100,
    max: 1_000_000_000,
    default: 2_000_000,
    unit: 'units',
    doc: 'What one question about series may cost: a unit for each stored reading, for each 5 rows of rollups that it reads, and for each 10 numbers that it answers; a question that costs more gets 422',
  }),
  deviceQueryCostMax: integer('DEVICE_QUERY_COST_MAX', {
    min: 100,
    max: 1_000_000_000,
    default: 100_000,
    unit: 'units',
    doc: 'The same for callers of role device',
  }),
  queryCostPerMinute: integer('QUERY_COST_PER_MINUTE', {
    min: 100,
    max: 10_000_000_000,
    default: 6_000_000,
    unit: 'units',
    doc: 'What the questions of one role and subject may cost in a minute, and at most at once; with more they get 429 with the time to wait. Each instance counts for itself',
  }),
  deviceQueryCostPerMinute: integer('DEVICE_QUERY_COST_PER_MINUTE', {
    min: 100,
    max: 10_000_000_000,
    default: 300_000,
    unit: 'units',
    doc: 'The same for callers of role device',
  }),
  answerNumbersMax: integer('ANSWER_NUMBERS_MAX', {
    min: 1_000,
    max: 10_000_000,
    default: 500_000,
    unit: 'numbers',
    doc: 'Numbers in the answer to one question about series: series × buckets × aggregates',
  }),
  deviceAnswerNumbersMax: integer('DEVICE_ANSWER_NUMBERS_MAX', {
    min: 1_000,
    max: 10_000_000,
    default: 50_000,
    unit: 'numbers',
    doc: 'The same for callers of role device',
  }),
  seriesMax: integer('SERIES_MAX', {
    min: 1,
    max: 10_000_000,
    default: 500_000,
    unit: 'series',
    doc: 'Series, which is devices × metrics, that one question may read',
  }),
  bucketsMax: integer('BUCKETS_MAX', {
    min: 100,
    max: 1_000_000,
    default: 50_000,
    unit: 'buckets',
    doc: 'Buckets of time in the answer to one question about series',
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
    doc: 'Pages that are being read or sent, and what is queued of streams, over all calls; further ones get 503. The process takes about four times as much memory',
  }),
  staleAnswerBytesMax: integer('STALE_ANSWER_BYTES_MAX', {
    min: 0,
    max: 1024 * mebibyte,
    default: 16 * mebibyte,
    unit: 'bytes',
    doc: 'Pages of the latest state, and as many bytes of answers to questions, kept for times when the database is unavailable; the least recently used are dropped first',
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
  ...liveRelations,
  relation(
    queryApiVariables,
    'CALLS_IN_FLIGHT_PER_CALLER_MAX < POOL_MAX, HISTORY_POOL_MAX, SCAN_POOL_MAX and LIVE_POOL_MAX',
    ['callsInFlightPerCallerMax', 'poolMax', 'historyPoolMax', 'scanPoolMax', 'livePoolMax'],
    (c) => c.callsInFlightPerCallerMax < Math.min(c.poolMax, c.historyPoolMax, c.scanPoolMax, c.livePoolMax),
  ),
  relation(
    queryApiVariables,
    'SESSIONS_PER_SUBJECT_MAX ≤ SESSIONS_MAX',
    ['sessionsPerSubjectMax', 'sessionsMax'],
    (c) => c.sessionsPerSubjectMax <= c.sessionsMax,
  ),
  relation(
    queryApiVariables,
    'CALLS_IN_FLIGHT_PER_DEVICE_MAX ≤ CALLS_IN_FLIGHT_PER_CALLER_MAX',
    ['callsInFlightPerDeviceMax', 'callsInFlightPerCallerMax'],
    (c) => c.callsInFlightPerDeviceMax <= c.callsInFlightPerCallerMax,
  ),
  relation(
    queryApiVariables,
    'EXPORT_STREAMS_PER_CALLER_MAX ≤ EXPORT_STREAMS_MAX',
    ['exportStreamsPerCallerMax', 'exportStreamsMax'],
    (c) => c.exportStreamsPerCallerMax <= c.exportStreamsMax,
  ),
  relation(
    queryApiVariables,
    'EXPORT_S3_BUCKET needs EXPORT_S3_ENDPOINT, EXPORT_S3_ACCESS_KEY_ID and EXPORT_S3_SECRET_ACCESS_KEY',
    ['exportS3Bucket', 'exportS3Endpoint', 'exportS3AccessKeyId', 'exportS3SecretAccessKey'],
    (c) =>
      c.exportS3Bucket === undefined ||
      (c.exportS3Endpoint !== undefined &&
        c.exportS3AccessKeyId !== undefined &&
        c.exportS3SecretAccessKey !== undefined),
  ),
  relation(
    queryApiVariables,
    'EXPORT_BYTES_MAX ≤ 10,000 × EXPORT_S3_PART_BYTES, with EXPORT_S3_BUCKET',
    ['exportBytesMax', 'exportS3PartBytes', 'exportS3Bucket'],
    (c) => c.exportS3Bucket === undefined || c.exportBytesMax <= s3PartsMax * c.exportS3PartBytes,
  ),
  relation(
    queryApiVariables,
    'DEVICE_QUERY_COST_MAX ≤ QUERY_COST_MAX',
    ['deviceQueryCostMax', 'queryCostMax'],
    (c) => c.deviceQueryCostMax <= c.queryCostMax,
  ),
  relation(
    queryApiVariables,
    'QUERY_COST_MAX ≤ QUERY_COST_PER_MINUTE',
    ['queryCostMax', 'queryCostPerMinute'],
    (c) => c.queryCostMax <= c.queryCostPerMinute,
  ),
  relation(
    queryApiVariables,
    'DEVICE_QUERY_COST_MAX ≤ DEVICE_QUERY_COST_PER_MINUTE',
    ['deviceQueryCostMax', 'deviceQueryCostPerMinute'],
    (c) => c.deviceQueryCostMax <= c.deviceQueryCostPerMinute,
  ),
  relation(
    queryApiVariables,
    'DEVICE_ANSWER_NUMBERS_MAX ≤ ANSWER_NUMBERS_MAX',
    ['deviceAnswerNumbersMax', 'answerNumbersMax'],
    (c) => c.deviceAnswerNumbersMax <= c.answerNumbersMax,
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
