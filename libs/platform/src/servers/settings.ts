/** Server settings that hold however the server is run. fsync stays on: what is acknowledged must survive a power cut. */
export const postgresSettings = {
  shared_buffers: '256MB',
  max_connections: '200',
  max_wal_size: '2GB',
};

/** A worker holds its deliveries, unacknowledged, for as long as Postgres is away; the broker must not take them back. */
const consumerTimeoutMs = 365 * 24 * 60 * 60 * 1000;

export const rabbitmqSettings = {
  consumer_timeout: String(consumerTimeoutMs),
  'disk_free_limit.absolute': '50MB',
  loopback_users: 'none',
};

/** rabbitmq.conf's own format: one `key = value` a line. */
export function asRabbitmqConf(settings: Record<string, string | number>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');
}
