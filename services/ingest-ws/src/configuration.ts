import { liveRelations, liveVariables } from '@fleetwire/live/live-variables';
import { limits } from '@fleetwire/contracts/limits';
import { authenticationRelations, authenticationVariables } from '@fleetwire/runtime/authentication-variables';
import { type ConfigurationOf, type Environment, readConfiguration, relation } from '@fleetwire/runtime/configuration';
import { listenVariables, serviceVariables } from '@fleetwire/runtime/service-variables';
import { choice, integer, optional, secret, string, url } from '@fleetwire/runtime/variables';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

export const ingestVariables = {
  ...serviceVariables,
  ...listenVariables(8080),
  ...authenticationVariables,
  ...liveVariables,
  queryApiUrl: optional(
    url('QUERY_API_URL', {
      protocols: ['http', 'https'],
      doc: 'query-api, from which subscriptions with since or cursor read their history, and to which commands of clients are sent; if unset subscriptions are live only and say that history is unavailable, commands are refused, and `acks=stored` is not given',
    }),
  ),
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
    doc: 'Open sockets of one token subject, whatever its role; further upgrades are refused with 429. A gateway needs one socket for all its devices; raise it for a gateway that opens one for each device. Not applied with AUTH_MODE=open',
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
  subjectBytesInFlightMax: integer('SUBJECT_BYTES_IN_FLIGHT_MAX', {
    min: kibibyte,
    max: 4096 * mebibyte,
    default: 8 * mebibyte,
    unit: 'bytes',
    doc: 'Bytes of one token subject in flight over all its sockets and requests, its share of BUFFER_BYTES_MAX; readings beyond it are nacked as retryable, over HTTP refused with 429. Not applied with AUTH_MODE=open',
  }),
  subjectStreamsMax: integer('SUBJECT_STREAMS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 50_000,
    unit: 'streams',
    doc: 'Streams (one epoch of one device) of one token subject, a gateway for example, that are kept over all its sockets; beyond it, the least recently used one without readings in flight or pending resends is forgotten, and if there is none, the socket is closed with 1013. Not applied with AUTH_MODE=open',
  }),
  deviceStreamsMax: integer('DEVICE_STREAMS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 2_000,
    unit: 'streams',
    doc: 'The same for one subject of role device, without the epochs of its sessions',
  }),
  pendingResendsMax: integer('PENDING_RESENDS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 10_000,
    unit: 'ranges',
    doc: 'Pending resends of one socket, over all its streams: runs of readings that were nacked as retryable and not sent again; beyond it the socket is closed with 1013',
  }),
  awaitingStoredMax: integer('AWAITING_STORED_MAX', {
    min: 1,
    max: 10_000_000,
    default: 100_000,
    unit: 'frames',
    doc: 'Frames of sockets with `acks=stored` that are published and not known to be stored, about 400 bytes each; beyond it the socket with most of them gets acks alone, and so do new sockets (`hello.acks`)',
  }),
  outboundBytesMax: integer('OUTBOUND_BYTES_MAX', {
    min: kibibyte,
    max: 64 * mebibyte,
    default: mebibyte,
    unit: 'bytes',
    doc: 'Answers queued for a socket that does not read them; with more the socket is cut',
  }),
  commandsPendingMax: integer('COMMANDS_PENDING_MAX', {
    min: 1,
    max: 1_000_000,
    default: 10_000,
    unit: 'commands',
    doc: 'Commands that were sent to devices of this instance, on sessions that are open, and have no result yet; as many are remembered whose session has ended, so that the device can answer on its next one. Further ones are not sent, and fail or wait as if the device were offline',
  }),
  controlsInFlightMax: integer('CONTROLS_IN_FLIGHT_MAX', {
    min: 1,
    max: 10_000,
    default: 20,
    unit: 'commands',
    doc: 'Commands that one socket of an operator has sent and query-api has not answered; further ones are refused with in-flight-limit',
  }),
  commandOutcomesBytesMax: integer('COMMAND_OUTCOMES_BYTES_MAX', {
    min: 256 * kibibyte,
    max: 1024 * mebibyte,
    default: 16 * mebibyte,
    unit: 'bytes',
    doc: 'Results and other outcomes of commands that RabbitMQ has not confirmed; a further result is refused as overloaded, and the device sends it again',
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
    doc: 'Maximum number of pings and rejected frames of one socket in one second; beyond it the socket is closed with 4429. A frame whose rejected readings take several nacks counts once for each 10 of them',
  }),
  httpRequestsInFlightPerSubjectMax: integer('HTTP_REQUESTS_IN_FLIGHT_PER_SUBJECT_MAX', {
    min: 1,
    max: 1_000_000,
    default: 100,
    unit: 'requests',
    doc: 'HTTP requests of one token subject that are not answered yet; further ones are refused with 429. Not applied with AUTH_MODE=open',
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
  answerTimeoutMs: integer('ANSWER_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 15_000,
    unit: 'ms',
    doc: 'Longest time from the arrival of readings to their answer: without a confirm they are nacked as retryable, over HTTP with 503. CONFIRM_TIMEOUT_MS counts from the publication, which can be later',
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
  registration: choice('REGISTRATION', ['open', 'closed'], {
    default: 'open',
    doc: '`open`: any device with a valid token may publish; `closed`: only registered devices. With REGISTRY_TOKEN suspended devices are refused in both',
  }),
  registryToken: optional(
    secret(
      string('REGISTRY_TOKEN', {
        doc: 'Bearer token of the role analyst or operator, with which the device registry is read from QUERY_API_URL; its answers are signed with a key of AUTH_JWKS',
      }),
    ),
  ),
  registryPollMs: integer('REGISTRY_POLL_MS', {
    min: 100,
    max: 600_000,
    default: 2_000,
    unit: 'ms',
    doc: 'How often changes of the device registry are read',
  }),
  registrySnapshotIntervalMs: integer('REGISTRY_SNAPSHOT_INTERVAL_MS', {
    min: 1_000,
    max: 24 * 3_600_000,
    default: 600_000,
    unit: 'ms',
    doc: 'How often the whole device registry is read again',
  }),
  registrySnapshotAgeMaxMs: integer('REGISTRY_SNAPSHOT_AGE_MAX_MS', {
    min: 1_000,
    max: 7 * 24 * 3_600_000,
    default: 3_600_000,
    unit: 'ms',
    doc: 'Without an answer of query-api for longer than this, `/readyz` names the age of the known registry, which stays valid',
  }),
  registryDevicesMax: integer('REGISTRY_DEVICES_MAX', {
    min: 1,
    max: 10_000_000,
    default: 1_000_000,
    unit: 'devices',
    doc: 'Registered devices that are kept in memory, about 150 bytes each; of a larger registry no new snapshot is taken',
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
    ...liveRelations,
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
      'SUBJECT_BYTES_IN_FLIGHT_MAX ≥ SOCKET_BYTES_IN_FLIGHT_MAX',
      ['subjectBytesInFlightMax', 'socketBytesInFlightMax'],
      (c) => c.subjectBytesInFlightMax >= c.socketBytesInFlightMax,
    ),
    relation(
      ingestVariables,
      'REGISTRATION=closed needs REGISTRY_TOKEN, which needs QUERY_API_URL and AUTH_MODE=jwt',
      ['registration', 'registryToken', 'queryApiUrl', 'authMode'],
      ({ registration, registryToken, queryApiUrl, authMode }) =>
        registryToken === undefined ? registration === 'open' : queryApiUrl !== undefined && authMode === 'jwt',
    ),
    relation(
      ingestVariables,
      'BUFFER_BYTES_MAX ≥ ENVELOPE_BYTES_MAX',
      ['bufferBytesMax', 'envelopeBytesMax'],
      (c) => c.bufferBytesMax >= c.envelopeBytesMax,
    ),
  ]);
}
