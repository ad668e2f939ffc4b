/** Server settings for every kind of server. fsync stays on: an acknowledged reading must survive a power cut. */
export const postgresSettings = {
  shared_buffers: '256MB',
  max_connections: '200',
  max_wal_size: '2GB',
  // A refused reading leaves its error in the log without the statement, which is always the same.
  log_min_error_statement: 'panic',
};

/** A worker keeps its deliveries unacknowledged while Postgres is down; the broker must not requeue them. */
const consumerTimeoutMs = 365 * 24 * 60 * 60 * 1000;

export const rabbitmqSettings = {
  consumer_timeout: String(consumerTimeoutMs),
  'disk_free_limit.absolute': '50MB',
  loopback_users: 'none',
};

/**
 * Of the Erlang machine; rabbitmq.conf has no key for it. RabbitMQ tries again after this time, in milliseconds, to return a message from a retry
 * queue that found the work queue full or not bound. Its own default is three minutes, and a message may wait for two of them.
 */
export const rabbitmqArguments = '-rabbit dead_letter_worker_publisher_confirm_timeout 5000';

/** The format of rabbitmq.conf: one `key = value` per line. */
export function asRabbitmqConf(settings: Record<string, string | number>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');
}
