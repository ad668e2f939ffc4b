/** Inputs of the model that were not measured. The measured ones are in costs.json. */
export const assumptions = {
  /** Bound for a core, a log device or a disk in the busiest hour. */
  utilisation: 0.6,
  /** Bound for the core of an ingest-ws while all devices reconnect. */
  stormUtilisation: 0.9,
  /** From here on: one machine of each kind. */
  ingestBytes: 4 * 2 ** 30,
  databaseCores: 16,
  databaseBytes: 128 * 2 ** 30,
  databaseDiskBytes: 16 * 2 ** 40,
  /** Sustained sequential writes of a log device. */
  databaseLogBytesPerSecond: 500 * 2 ** 20,
  /** checkpoint_timeout, with a max_wal_size that does not trigger checkpoints earlier. */
  checkpointSeconds: 300,
  brokerCores: 8,
  brokerReplicas: 3,
  /** Limits how many devices the loss of an instance affects, and is below a proxy's 28,232 ports per address pair (ip_local_port_range). */
  socketsPerInstance: 25_000,
  /** Ethernet, IPv4, TCP and the WebSocket header of a packet. */
  packetBytes: 14 + 20 + 32 + 8,
  /** `{"type":"ack","upTo":…}` */
  ackBytes: 32,
  /** Round trip between machines of one site. */
  networkMs: 0.5,
  /** How long a queue has no leader after the loss of its node. */
  electionMs: 5_000,
  /** Each device's newest entry of the index (device, time) is on a page of its own. */
  indexPageBytes: 8_192,
  /** A row of `sequence_blocks` with its index, and a device's share of `streams`. */
  ledgerRowBytes: 250,
  replicasOfDatabase: 2,
} as const;

/** Settings that depend on the size of the fleet. */
export interface Tuning {
  readonly envelopeLingerMs: number;
  readonly prefetch: number;
}

/** Defaults of the services' configuration and of the topology; a test compares them with the sources. */
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
  /** Streams whose keys a worker caches: at least one of the cache's two generations. */
  streamsRemembered: 100_000,
} as const;

export const defaults: Tuning = {
  envelopeLingerMs: production.envelopeLingerMs,
  prefetch: production.prefetch,
};

/** With many batchers each sees few messages: a longer linger makes envelopes larger, and a worker may hold more of the small ones. */
export const forMillions: Tuning = { envelopeLingerMs: 50, prefetch: 1_000 };
