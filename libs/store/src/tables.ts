import type { Generated } from 'kysely';

/** The schema as the migrations leave it. Times are epoch milliseconds when read (wire-types.ts). */
export interface Tables {
  devices: DevicesTable;
  streams: StreamsTable;
  shapes: ShapesTable;
  readings: ReadingsTable;
  sequence_blocks: SequenceBlocksTable;
  device_latest: DeviceLatestTable;
  dead_letters: DeadLettersTable;
}

interface DevicesTable {
  device_key: Generated<number>;
  device_id: string;
  /** Null where the device was registered before its first reading. */
  first_seen_at: Generated<number | null>;
}

/** One boot of a device: what its `seq` counts within. */
interface StreamsTable {
  stream_key: Generated<number>;
  device_key: number;
  epoch: string;
  first_seen_at: Generated<number>;
}

/** An ordered list of metric names, shared by all readings whose numeric metrics are these. */
interface ShapesTable {
  shape_key: Generated<number>;
  names: string[];
  /** SHA-256 of the names, as an index cannot hold the names themselves. */
  digest: Buffer;
  /** The device that added it; null for those added before there was a bound per device. */
  device_key: number | null;
}

interface ReadingsTable {
  ts: number;
  received_at: number;
  seq: number;
  device_key: number;
  stream_key: number;
  shape_key: number;
  /** In the order of the shape's names. */
  numbers: number[];
  /** Metrics that are not numbers, and numbers of readings without a shape. */
  others: Record<string, unknown> | null;
}

/** Which sequence numbers of a stream have been stored, in blocks of `sequenceBlockSize`. */
interface SequenceBlocksTable {
  stream_key: number;
  block: number;
  seen: string;
  /** The part of `seen` that the last writer added. */
  newly_stored: string;
  /** The day, in UTC, on which readings of this block were stored last. */
  written_on: Generated<string>;
}

interface DeviceLatestTable {
  device_key: number;
  /** Null where all readings of the device were ahead of their arrival. */
  ts: number | null;
  received_at: number;
  /** The oldest device time among the values of the last writer. */
  changed_from: number | null;
  metrics: LatestMetrics;
}

/** Metric name → [device time in epoch milliseconds, value]. */
export type LatestMetrics = Record<string, [number, unknown]>;

interface DeadLettersTable {
  id: string;
  reason: string;
  error_code: string;
  error_message: string;
  fingerprint: string;
  attempts: number;
  first_failed_at: number;
  last_failed_at: number;
  device_id: string | null;
  epoch: string | null;
  seq: number | null;
  received_at: number | null;
  payload: Buffer;
  payload_encoding: string;
  created_at: Generated<number>;
  /** By arrival. */
  number: Generated<number>;
  status: Generated<string>;
  /** When the status was last set. */
  changed_at: Generated<number>;
  /** When it last arrived with a new failure. */
  last_arrived_at: Generated<number>;
  replays: Generated<number>;
  automatic_replays: Generated<number>;
  repeated: Generated<number>;
  /** AMQP headers as JSON. */
  headers: string | null;
}
