/** What was not measured, and is therefore said here. Everything else comes from costs.json. */
export const assumptions = {
  /** Of a core, a log device or a disk, in the busiest hour. */
  utilisation: 0.6,
  /** Of an ingest instance's core while everybody connects again. */
  stormUtilisation: 0.9,
  /** One machine of each kind. */
  ingestBytes: 4 * 2 ** 30,
  databaseCores: 16,
  databaseBytes: 128 * 2 ** 30,
  databaseDiskBytes: 16 * 2 ** 40,
  /** Sequential writing that a log device keeps up, all day. */
  databaseLogBytesPerSecond: 500 * 2 ** 20,
  /** checkpoint_timeout, with a max_wal_size that lets it come to that. */
  checkpointSeconds: 300,
  brokerCores: 8,
  brokerReplicas: 3,
  /** So that the loss of one is felt by few, and a proxy's ports suffice: 28,232 of one address to one port of another (ip_local_port_range). */
  socketsPerInstance: 25_000,
  /** Ethernet, IPv4, TCP and the WebSocket header of a packet. */
  packetBytes: 14 + 20 + 32 + 8,
  /** `{"type":"ack","upTo":…}` */
  ackBytes: 32,
  /** Between machines of one site, there and back. */
  networkMs: 0.5,
  /** How long a queue has no leader after the loss of its node. */
  electionMs: 5_000,
  /** One page of the index (device, time) is each device's newest. */
  indexPageBytes: 8_192,
  /** A row of `sequence_blocks` with its index, and a device's share of `streams`. */
  ledgerRowBytes: 250,
  replicasOfDatabase: 2,
} as const;

/** What an operator sets by the size of the fleet. */
export interface Tuning {
  readonly envelopeLingerMs: number;
  readonly prefetch: number;
}

/** Of the services' configuration and the topology, as they are by default; a test holds them against the documents. */
export const production = {
  connectionsMax: 20_000,
  envelopeReadingsMax: 500,
  envelopeBytesMax: 128 * 1_024,
  envelopeLingerMs: 5,
  publishMessagesInFlightMax: 64,
  bufferBytesMax: 32 * 2 ** 20,
  prefetch: 128,
  batchReadingsMax: 2_000,
  batchBytesMax: 8 * 2 ** 20,
  batchLingerMs: 20,
  stuckTransactionMs: 100,
  transactionsMax: 2,
  holdCapMs: 5_000,
  queueBytesMax: 4_096 * 2 ** 20,
  queueMessagesMax: 1_000_000,
  /** Streams whose keys a worker remembers: of two generations one is always there. */
  streamsRemembered: 100_000,
} as const;

export const asDelivered: Tuning = {
  envelopeLingerMs: production.envelopeLingerMs,
  prefetch: production.prefetch,
};

/** Many batchers see few messages each: they wait longer for company, and a worker holds more of what is still small. */
export const forMillions: Tuning = { envelopeLingerMs: 50, prefetch: 1_000 };
