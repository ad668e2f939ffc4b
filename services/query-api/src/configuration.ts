import { authenticationRelations, authenticationVariables } from '@fleetwire/runtime/authentication-variables';
import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { integer, optional, secret, url, urls } from '@fleetwire/runtime/variables';

export const queryApiVariables = {
  ...serviceVariables,
  ...listenVariables(8081),
  ...authenticationVariables,
  databaseUrl: secret(
    url('DATABASE_URL', {
      protocols: ['postgres', 'postgresql'],
      doc: 'Postgres; a role that may only read is enough',
    }),
  ),
  managementUrl: optional(
    secret(
      url('MANAGEMENT_URL', {
        protocols: ['http', 'https'],
        doc: "RabbitMQ's management API, with user and password; /status then shows queues",
      }),
    ),
  ),
  amqpUrl: optional(
    secret(
      url('AMQP_URL', {
        protocols: ['amqp', 'amqps'],
        doc: 'RabbitMQ, with its virtual host: /queues then shows its queues, also without the management API',
      }),
    ),
  ),
  databaseWriteUrl: optional(
    secret(
      url('DATABASE_WRITE_URL', {
        protocols: ['postgres', 'postgresql'],
        doc: 'Postgres as a role that may write the dead letters; DATABASE_URL without it',
      }),
    ),
  ),
  workerUrls: optional(
    urls('WORKER_URLS', {
      protocols: ['http', 'https'],
      doc: 'Addresses of all persistence-workers; /queues then knows how old the oldest reading is',
    }),
  ),
  poolMax: integer('POOL_MAX', {
    min: 1,
    max: 100,
    default: 4,
    unit: 'connections',
    doc: 'For the latest state and the registry',
  }),
  historyPoolMax: integer('HISTORY_POOL_MAX', {
    min: 1,
    max: 100,
    default: 4,
    unit: 'connections',
    doc: 'For history, apart, so that it cannot starve the rest',
  }),
  writePoolMax: integer('WRITE_POOL_MAX', {
    min: 2,
    max: 100,
    default: 4,
    unit: 'connections',
    doc: 'For work on dead letters',
  }),
  statementTimeoutMs: integer('STATEMENT_TIMEOUT_MS', {
    min: 50,
    max: 600_000,
    default: 4_000,
    unit: 'ms',
    doc: 'Postgres ends a query after this long',
  }),
  breakerTimeoutMs: integer('BREAKER_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'A call is given up and its connection destroyed after this long',
  }),
  breakerResetMs: integer('BREAKER_RESET_MS', {
    min: 100,
    max: 600_000,
    default: 5_000,
    unit: 'ms',
    doc: 'An open circuit lets one call try after this long',
  }),
  breakerVolumeMin: integer('BREAKER_VOLUME_MIN', {
    min: 1,
    max: 10_000,
    default: 5,
    unit: 'calls',
    doc: 'Fewer calls than this in 10 s never open a circuit',
  }),
  callsInFlightMax: integer('CALLS_IN_FLIGHT_MAX', {
    min: 1,
    max: 10_000,
    default: 64,
    unit: 'calls',
    doc: 'Calls of one kind that run or wait for a connection; more get 503 at once',
  }),
  rateLimitPerMinute: integer('RATE_LIMIT_PER_MINUTE', {
    min: 1,
    max: 1_000_000,
    default: 1_200,
    unit: 'requests',
    doc: 'Requests one caller may make in a minute',
  }),
  probeIntervalMs: integer('PROBE_INTERVAL_MS', {
    min: 100,
    max: 60_000,
    default: 2_000,
    unit: 'ms',
    doc: 'How often readiness and /status look at the database',
  }),
};

export type QueryApiConfiguration = ConfigurationOf<typeof queryApiVariables>;

const relations = [
  ...authenticationRelations,
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
