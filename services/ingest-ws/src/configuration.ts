import { limits } from '@fleetwire/contracts/limits';
import { authenticationRelations, authenticationVariables } from '@fleetwire/runtime/authentication-variables';
import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { integer, secret, url } from '@fleetwire/runtime/variables';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

export const ingestVariables = {
  ...serviceVariables,
  ...listenVariables(8080),
  ...authenticationVariables,
  amqpUrl: secret(url('AMQP_URL', { protocols: ['amqp', 'amqps'], doc: 'RabbitMQ, with its virtual host' })),
  connectionsMax: integer('CONNECTIONS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 20_000,
    unit: 'sockets',
    doc: 'Device sockets open at the same time; further upgrades are refused with 503',
  }),
  connectionsPerSubjectMax: integer('CONNECTIONS_PER_SUBJECT_MAX', {
    min: 2,
    max: 1_000_000,
    default: 100,
    unit: 'sockets',
    doc: 'Open sockets of one token subject, whatever its role; further upgrades are refused with 429. Not applied with AUTH_MODE=open',
  }),
  connectionsPerAddressMax: integer('CONNECTIONS_PER_ADDRESS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 10_000,
    unit: 'sockets',
    doc: 'Open sockets of one address, or IPv6 network of 64 bits; further upgrades are refused with 429. Behind a proxy TRUST_PROXY_HOPS tells clients apart',
  }),
  payloadBytesMax: integer('PAYLOAD_BYTES_MAX', {
    min: kibibyte,
    max: limits.payloadBytesMax,
    default: limits.payloadBytesMax,
    unit: 'bytes',
    doc: 'Size of one frame or HTTP body; a larger frame closes the socket with 1009, a larger body is refused with 413',
  }),
  inFlightMax: integer('IN_FLIGHT_MAX', {
    min: 1,
    max: 100_000,
    default: 2_000,
    unit: 'readings',
    doc: 'Readings of one socket in flight (received and not settled); further ones are nacked as retryable',
  }),
  socketBytesInFlightMax: integer('SOCKET_BYTES_IN_FLIGHT_MAX', {
    min: kibibyte,
    max: 4096 * mebibyte,
    default: 4 * mebibyte,
    unit: 'bytes',
    doc: 'Bytes of one socket in flight (received and not settled), its share of BUFFER_BYTES_MAX; readings beyond it are nacked as retryable',
  }),
  outboundBytesMax: integer('OUTBOUND_BYTES_MAX', {
    min: kibibyte,
    max: 64 * mebibyte,
    default: mebibyte,
    unit: 'bytes',
    doc: 'Answers queued for a socket that does not read them; with more the socket is cut',
  }),
  heartbeatIntervalMs: integer('HEARTBEAT_INTERVAL_MS', {
    min: 100,
    max: 600_000,
    default: 30_000,
    unit: 'ms',
    doc: 'Time between pings; a socket that is silent for two intervals is cut',
  }),
  malformedFramesInARowMax: integer('MALFORMED_FRAMES_IN_A_ROW_MAX', {
    min: 1,
    max: 10_000,
    default: 20,
    unit: 'frames',
    doc: 'Malformed frames in a row after which the socket is closed with 4400',
  }),
  unproductiveFramesPerSecondMax: integer('UNPRODUCTIVE_FRAMES_PER_SECOND_MAX', {
    min: 1,
    max: 100_000,
    default: 100,
    unit: 'frames/s',
    doc: 'Maximum number of pings and rejected frames of one socket in one second; beyond it the socket is closed with 4429',
  }),
  httpRequestsPerMinuteMax: integer('HTTP_REQUESTS_PER_MINUTE_MAX', {
    min: 1,
    max: 10_000_000,
    default: 60_000,
    unit: 'requests/min',
    doc: 'HTTP requests of one caller in a minute; further ones are answered with 429',
  }),
  envelopeReadingsMax: integer('ENVELOPE_READINGS_MAX', {
    min: 1,
    max: 10_000,
    default: 500,
    unit: 'readings',
    doc: 'Readings after which an envelope is full and is published',
  }),
  envelopeBytesMax: integer('ENVELOPE_BYTES_MAX', {
    min: kibibyte,
    max: 8 * mebibyte,
    default: 128 * kibibyte,
    unit: 'bytes',
    doc: 'Bytes, as received, after which an envelope is full and is published; a frame is never split',
  }),
  envelopeLingerMs: integer('ENVELOPE_LINGER_MS', {
    min: 0,
    max: 1_000,
    default: 5,
    unit: 'ms',
    doc: 'Minimum interval between envelopes, unless one is full; readings received in the interval share an envelope',
  }),
  publishMessagesInFlightMax: integer('PUBLISH_MESSAGES_IN_FLIGHT_MAX', {
    min: 1,
    max: 10_000,
    default: 64,
    unit: 'envelopes',
    doc: 'Envelopes published and not confirmed yet; further ones wait',
  }),
  publishBytesInFlightMax: integer('PUBLISH_BYTES_IN_FLIGHT_MAX', {
    min: 64 * kibibyte,
    max: 1024 * mebibyte,
    default: 16 * mebibyte,
    unit: 'bytes',
    doc: 'Bytes of envelopes published and not confirmed yet; further ones wait',
  }),
  confirmTimeoutMs: integer('CONFIRM_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 10_000,
    unit: 'ms',
    doc: 'Longest wait for a confirm; after it the readings are nacked and the channel is replaced',
  }),
  bufferBytesMax: integer('BUFFER_BYTES_MAX', {
    min: 64 * kibibyte,
    max: 4096 * mebibyte,
    default: 32 * mebibyte,
    unit: 'bytes',
    doc: 'Bytes received and not settled, over all sockets; above half of it sockets are paused, above all of it readings are nacked',
  }),
  reportIntervalMs: integer('REPORT_INTERVAL_MS', {
    min: 100,
    max: 60_000,
    default: 5_000,
    unit: 'ms',
    doc: 'Interval of edge reports: the counts of accepted, rejected and nacked readings, for reconciliation',
  }),
  reportDevicesMax: integer('REPORT_DEVICES_MAX', {
    min: 0,
    max: 10_000,
    default: 1_000,
    unit: 'devices',
    doc: 'Devices with entries of their own in one edge report; readings of the others are counted together',
  }),
  amqpHeartbeatSeconds: integer('AMQP_HEARTBEAT_SECONDS', {
    min: 1,
    max: 600,
    default: 10,
    unit: 's',
    doc: 'Interval of AMQP heartbeats; the connection is replaced when two are missing',
  }),
};

export type IngestConfiguration = ConfigurationOf<typeof ingestVariables>;

/** @throws ConfigurationError that lists every invalid variable */
export function readIngestConfiguration(environment: Environment): IngestConfiguration {
  return readConfiguration(ingestVariables, environment, [
    ...authenticationRelations,
    relation(
      ingestVariables,
      'BUFFER_BYTES_MAX ≥ 2 × PAYLOAD_BYTES_MAX',
      ['bufferBytesMax', 'payloadBytesMax'],
      (c) => c.bufferBytesMax >= 2 * c.payloadBytesMax,
    ),
    relation(
      ingestVariables,
      'SOCKET_BYTES_IN_FLIGHT_MAX ≥ PAYLOAD_BYTES_MAX',
      ['socketBytesInFlightMax', 'payloadBytesMax'],
      (c) => c.socketBytesInFlightMax >= c.payloadBytesMax,
    ),
    relation(
      ingestVariables,
      'BUFFER_BYTES_MAX ≥ ENVELOPE_BYTES_MAX',
      ['bufferBytesMax', 'envelopeBytesMax'],
      (c) => c.bufferBytesMax >= c.envelopeBytesMax,
    ),
  ]);
}
