import { type CostId, type CostLoad, costFigure, costKey } from '../bench/cost-figures.ts';
import type { CostMeasurement } from './cost-table.ts';

/** CPU time of a server in microseconds: per reading, and per batch of readings, however small. */
export interface CpuCost {
  readonly perReading: number;
  readonly perBatch: number;
}

export interface PathCosts {
  /** Batches are envelopes. */
  readonly ingest: CpuCost;
  readonly broker: CpuCost;
  /** Batches are transactions. */
  readonly worker: CpuCost & { readonly perEnvelope: number };
  readonly database: CpuCost;
  /** The bench's devices, all in one process: the load generator. */
  readonly load: CpuCost;
}

export interface Quantiles {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What the whole path reached on the machine that the costs are from. */
interface Outcome {
  readonly readingsPerSecond: number;
  /** Latencies at a third of that rate. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly storedP50Ms: number;
  readonly storedP99Ms: number;
}

/** One load that the bench has put on the whole path. */
export interface Drive {
  readonly devices: number;
  readonly readingsPerFrame: number;
  /** Per socket. */
  readonly readingsInFlight: number;
  readonly inFlood: PathCosts;
  readonly atAThird: PathCosts;
  readonly outcome: Outcome;
}

/** Costs of Postgres alone, when each device sends one reading in turn. */
export interface TableCosts {
  readonly devices: number;
  readonly rowsPerSecond: number;
  readonly cpuMicros: number;
  readonly walBytes: number;
  /** Additional WAL for a device's first row after a checkpoint, whose pages are logged whole (full_page_writes). */
  readonly walBytesAfterCheckpoint: number;
}

export interface Costs {
  readonly drives: readonly Drive[];
  /** Costs of the path with many devices, by readings per message. */
  readonly fleet: (readingsPerMessage: number) => PathCosts;
  /** In ascending order of devices, with almost empty tables before. */
  readonly tables: readonly TableCosts[];
  /** With 300 readings stored of each device before: its newest index entry is on a page of its own. */
  readonly grown: TableCosts;
  readonly bytesPerRow: number;
  readonly bytesPerDevice: number;
  readonly handshakeMicros: number;
  readonly instanceBytes: number;
  readonly socketBytes: number;
  readonly frameBytes: (readingsPerMessage: number) => number;
  readonly envelopeBytes: (readingsPerMessage: number) => number;
  /** Latencies at low load. */
  readonly lowLoad: { readonly ack: Quantiles; readonly stored: Quantiles };
}

const shapes = [
  { devices: 300, readingsPerFrame: 1, readingsInFlight: 40 },
  { devices: 300, readingsPerFrame: 20, readingsInFlight: 40 },
  { devices: 10_000, readingsPerFrame: 1, readingsInFlight: 1 },
  { devices: 10_000, readingsPerFrame: 20, readingsInFlight: 20 },
] as const;
type Shape = Pick<Drive, 'devices' | 'readingsPerFrame'>;

const fleetDevices = 10_000;
const tableDevices = [1_000, 10_000, 100_000, 1_000_000];
const empty = { storedPerDevice: 0 };
const grown = { devices: 100_000, storedPerDevice: 300 };
const largest = { devices: 1_000_000, ...empty };

/** Messages of fewer readings are calculated as messages of one reading: a cost that was not measured is over-, never underestimated. */
const batchedFrom = 20;

type Look = (id: CostId) => number;

/** @throws Error that names the figure which the table lacks */
export function costsOf(table: readonly CostMeasurement[]): Costs {
  const values = new Map(table.flatMap(({ figures }) => figures.map(({ id, value }) => [costKey(id), value] as const)));
  const look: Look = (id) => {
    const value = values.get(costKey(id));
    if (value === undefined)
      throw new Error(`costs.json has no figure "${costFigure(id).name}"; refresh it from a run of the bench`);
    return value;
  };
  const measuredFrame = (readingsPerMessage: number) => (readingsPerMessage < batchedFrom ? 1 : 20);
  return {
    drives: shapes.map((shape) => ({ ...shape, ...driven(look, shape) })),
    fleet: (readingsPerMessage) =>
      fleetCosts(look, { devices: fleetDevices, readingsPerFrame: measuredFrame(readingsPerMessage) }),
    tables: tableDevices.map((devices) => tableCosts(look, { devices, ...empty })),
    grown: tableCosts(look, grown),
    bytesPerRow: look({ kind: 'bytesPerRow', ...largest }),
    bytesPerDevice: look({ kind: 'bytesPerDevice', ...largest }),
    handshakeMicros: look({ kind: 'cpuPerHandshake', process: 'ingest-ws' }),
    instanceBytes: look({ kind: 'idleBytes', process: 'ingest-ws' }),
    socketBytes: look({ kind: 'memoryPerSocket', sockets: 10_000 }) * 1_000,
    frameBytes: (readingsPerMessage) =>
      look({ kind: 'frameBytesPerReading', readingsPerFrame: measuredFrame(readingsPerMessage) }),
    envelopeBytes: (readingsPerMessage) =>
      look({ kind: 'envelopeBytesPerReading', readingsPerFrame: measuredFrame(readingsPerMessage) }),
    lowLoad: {
      ack: { p50Ms: look({ kind: 'ackP50', load: 'low' }), p99Ms: look({ kind: 'ackP99', load: 'low' }) },
      stored: { p50Ms: look({ kind: 'storedP50', load: 'low' }), p99Ms: look({ kind: 'storedP99', load: 'low' }) },
    },
  };
}

function driven(look: Look, { devices, readingsPerFrame }: Shape): Pick<Drive, 'inFlood' | 'atAThird' | 'outcome'> {
  const shape = { devices, readingsPerFrame };
  return {
    inFlood: pathCosts(look, 'full', shape),
    atAThird: pathCosts(look, 'third', shape),
    outcome: {
      readingsPerSecond: look({ kind: 'readingsPerSecond', ...shape }),
      ackP50Ms: look({ kind: 'ackP50', load: 'third', ...shape }),
      ackP99Ms: look({ kind: 'ackP99', load: 'third', ...shape }),
      storedP50Ms: look({ kind: 'storedP50', load: 'third', ...shape }),
      storedP99Ms: look({ kind: 'storedP99', load: 'third', ...shape }),
    },
  };
}

/** Envelopes and transactions were measured separately; the rest of a load's CPU time is that of its readings. */
function pathCosts(look: Look, load: CostLoad, shape: Shape): PathCosts {
  const perEnvelope = (process: string) => look({ kind: 'cpuPerEnvelope', process });
  const perTransaction = (process: string) => look({ kind: 'cpuPerTransaction', process });
  const envelopeReadings = look({ kind: 'readingsPerEnvelope', load, ...shape });
  const transactionReadings = look({ kind: 'readingsPerTransaction', load, ...shape });
  const rest = (process: string, ofBatches: number) =>
    Math.max(0, look({ kind: 'cpuPerReading', load, process, ...shape }) - ofBatches);
  const cost = (process: string, perBatch: number, readings: number): CpuCost => ({
    perReading: rest(process, perBatch / readings),
    perBatch,
  });
  const worker = {
    perEnvelope: perEnvelope('persistence-worker'),
    perBatch: perTransaction('persistence-worker'),
  };
  return {
    ingest: cost('ingest-ws', perEnvelope('ingest-ws'), envelopeReadings),
    broker: cost('rabbitmq', perEnvelope('rabbitmq'), envelopeReadings),
    worker: {
      ...worker,
      perReading: rest(
        'persistence-worker',
        worker.perEnvelope / envelopeReadings + worker.perBatch / transactionReadings,
      ),
    },
    database: cost('postgres', perTransaction('postgres'), transactionReadings),
    load: cost('load generator', 0, envelopeReadings),
  };
}

/**
 * The costs of a fleet whose devices send seldom: those at a third of full load, because a batch of more readings costs less per reading. The
 * broker's are those at full load, because an almost idle broker spends most CPU time on its own statistics.
 */
function fleetCosts(look: Look, shape: Shape): PathCosts {
  return { ...pathCosts(look, 'third', shape), broker: pathCosts(look, 'full', shape).broker };
}

export function cpuMicros({ perReading, perBatch }: CpuCost, readings: number): number {
  return readings * perReading + perBatch;
}

function tableCosts(look: Look, table: { readonly devices: number; readonly storedPerDevice: number }): TableCosts {
  return {
    devices: table.devices,
    rowsPerSecond: look({ kind: 'rowsPerSecond', ...table }),
    cpuMicros: look({ kind: 'cpuPerRow', process: 'postgres', ...table }),
    walBytes: look({ kind: 'walBytesPerRow', ...table }),
    walBytesAfterCheckpoint: look({ kind: 'walBytesPerDeviceAfterCheckpoint', ...table }),
  };
}
