import type { Measured } from './cost-table.ts';

/** CPU that a server spends, in microseconds: on each reading, and on each batch of them, however small. */
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
  /** The bench's devices, all in one process. */
  readonly load: CpuCost;
}

/** Half and a hundredth of all take longer. */
export interface Quantiles {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What came of it all on the machine that the costs are from. */
interface Outcome {
  readonly readingsPerSecond: number;
  /** At a third of it. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly storedP50Ms: number;
  readonly storedP99Ms: number;
}

/** The whole path as the bench has driven it. */
export interface Drive {
  readonly name: string;
  readonly devices: number;
  readonly readingsPerFrame: number;
  /** On each socket. */
  readonly readingsInFlight: number;
  readonly inFlood: PathCosts;
  readonly atAThird: PathCosts;
  readonly outcome: Outcome;
}

/** Postgres alone, where each of so many devices sends one reading in turn. */
export interface TableCosts {
  readonly devices: number;
  readonly rowsPerSecond: number;
  readonly cpuMicros: number;
  readonly walBytes: number;
  /** More of it for a device's first row after a checkpoint, whose pages are logged whole. */
  readonly walBytesAfterCheckpoint: number;
}

export interface Costs {
  readonly drives: readonly Drive[];
  /** Of a path of many devices, by the readings of their messages. */
  readonly fleet: (readingsPerMessage: number) => PathCosts;
  /** In the order of their devices, with next to nothing in the tables before. */
  readonly tables: readonly TableCosts[];
  /** With 300 readings of each device there before: its newest entry of the index has a page of its own. */
  readonly grown: TableCosts;
  readonly bytesPerRow: number;
  readonly bytesPerDevice: number;
  readonly handshakeMicros: number;
  readonly instanceBytes: number;
  readonly socketBytes: number;
  readonly frameBytes: (readingsPerMessage: number) => number;
  readonly envelopeBytes: (readingsPerMessage: number) => number;
  /** With next to nothing to do. */
  readonly calm: { readonly ack: Quantiles; readonly stored: Quantiles };
}

const shapes = [
  { name: '300 devices, 1 a frame', devices: 300, readingsPerFrame: 1, readingsInFlight: 40 },
  { name: '300 devices, 20 a frame', devices: 300, readingsPerFrame: 20, readingsInFlight: 40 },
  { name: '10000 devices, 1 a frame', devices: 10_000, readingsPerFrame: 1, readingsInFlight: 1 },
  { name: '10000 devices, 20 a frame', devices: 10_000, readingsPerFrame: 20, readingsInFlight: 20 },
] as const;
type ShapeName = (typeof shapes)[number]['name'];

const tableDevices = [1_000, 10_000, 100_000, 1_000_000];
const grown = '100000 devices of 300 readings before';

/** Messages of fewer readings are reckoned as messages of one: what was not measured is taken for dearer, never for cheaper. */
const batchedFrom = 20;

type Look = (figure: string) => number;

/** @throws Error that names the figure which the table lacks */
export function costsOf(table: readonly Measured[]): Costs {
  const values = new Map(table.map(({ figure, value }) => [figure, value]));
  const look: Look = (figure) => {
    const value = values.get(figure);
    if (value === undefined)
      throw new Error(`costs.json has no figure "${figure}"; refresh it from a run of the bench`);
    return value;
  };
  const byMessage = (figure: string) => (readingsPerMessage: number) =>
    look(`${figure}, ${readingsPerMessage < batchedFrom ? 1 : 20} a frame`);
  return {
    drives: shapes.map((shape) => ({ ...shape, ...driven(look, shape.name) })),
    fleet: (readingsPerMessage) =>
      fleetCosts(look, readingsPerMessage < batchedFrom ? '10000 devices, 1 a frame' : '10000 devices, 20 a frame'),
    tables: tableDevices.map((devices) => tableCosts(look, devices, `${devices} devices of 0 readings before`)),
    grown: tableCosts(look, 100_000, grown),
    bytesPerRow: look('bytes a row, 1000000 devices of 0 readings before'),
    bytesPerDevice: look('bytes a device, 1000000 devices of 0 readings before'),
    handshakeMicros: look('CPU a handshake, ingest-ws'),
    instanceBytes: look('memory of an idle ingest-ws'),
    socketBytes: look('memory per socket, 10,000 sockets') * 1_000,
    frameBytes: byMessage('bytes of a reading in a frame'),
    envelopeBytes: byMessage('bytes of a reading in an envelope'),
    calm: {
      ack: { p50Ms: look('ack p50, calm'), p99Ms: look('ack p99, calm') },
      stored: { p50Ms: look('stored p50, calm'), p99Ms: look('stored p99, calm') },
    },
  };
}

function driven(look: Look, shape: ShapeName): Pick<Drive, 'inFlood' | 'atAThird' | 'outcome'> {
  const outcome = (figure: string) => look(`${figure}, ${shape}`);
  return {
    inFlood: pathCosts(look, 'in the flood', shape),
    atAThird: pathCosts(look, 'at a third', shape),
    outcome: {
      readingsPerSecond: outcome('end to end'),
      ackP50Ms: outcome('ack p50 at a third'),
      ackP99Ms: outcome('ack p99 at a third'),
      storedP50Ms: outcome('stored p50 at a third'),
      storedP99Ms: outcome('stored p99 at a third'),
    },
  };
}

type LoadName = 'in the flood' | 'at a third';

/** Envelopes and transactions were measured by themselves; what is left of a load's CPU is that of its readings. */
function pathCosts(look: Look, load: LoadName, shape: ShapeName): PathCosts {
  const perEnvelope = (server: string) => look(`CPU an envelope, ${server}`);
  const perTransaction = (server: string) => look(`CPU a transaction, ${server}`);
  const envelopeReadings = look(`readings an envelope ${load}, ${shape}`);
  const transactionReadings = look(`readings a transaction ${load}, ${shape}`);
  const rest = (server: string, ofBatches: number) =>
    Math.max(0, look(`CPU a reading ${load}, ${server}, ${shape}`) - ofBatches);
  const cost = (server: string, perBatch: number, readings: number): CpuCost => ({
    perReading: rest(server, perBatch / readings),
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
 * Where each device sends seldom, at a load of about a third: more readings at once are cheaper. The broker's are those of the flood, as
 * one with little to do spends most on its own statistics.
 */
function fleetCosts(look: Look, shape: ShapeName): PathCosts {
  return { ...pathCosts(look, 'at a third', shape), broker: pathCosts(look, 'in the flood', shape).broker };
}

export function cpuMicros({ perReading, perBatch }: CpuCost, readings: number): number {
  return readings * perReading + perBatch;
}

function tableCosts(look: Look, devices: number, name: string): TableCosts {
  return {
    devices,
    rowsPerSecond: look(`rows written, ${name}`),
    cpuMicros: look(`CPU a row, Postgres, ${name}`),
    walBytes: look(`WAL a row, ${name}`),
    walBytesAfterCheckpoint: look(`WAL a device after a checkpoint, ${name}`),
  };
}
