import { decodeEnvelope, encodeEnvelope, envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type Cost, cost } from './cost.ts';
import { fleetReadings } from './workload.ts';

const readingsPerEnvelope = 500;
const devices = 300;

export interface EnvelopeFormatCost {
  readonly name: string;
  readonly bytesPerReading: number;
  readonly encode: Cost;
  readonly decode: Cost;
}

/**
 * The cost per reading of an envelope of 500 readings of five metrics: the JSON format in use, with and without its checks, and two compact
 * formats that store each metric's name once and the values in columns. The compact formats check nothing and support numbers only: they
 * show the most that such a format could gain.
 */
export function compareEnvelopeFormats(readingsPerFrame: number): EnvelopeFormatCost[] {
  const source = fleetReadings(devices, readingsPerFrame, Date.now());
  const readings = Array.from({ length: readingsPerEnvelope }, () => source.next().value);
  const runs = inRuns(readings, readingsPerFrame);
  const envelope = {
    id: 'bench',
    type: envelopeType,
    schemaVersion: envelopeSchemaVersion,
    occurredAt: 0,
    runs,
  } as const;
  const checked = (content: Buffer): readonly IdentifiedReading[] => {
    const decoded = decodeEnvelope(content);
    return decoded.ok ? decoded.value.readings : [];
  };
  const formats: [string, () => Buffer, (content: Buffer) => readonly IdentifiedReading[]][] = [
    ['JSON, checked', () => encodeEnvelope(envelope), checked],
    ['JSON, not checked', () => encodeEnvelope(envelope), fromJson],
    ['JSON in columns', () => Buffer.from(JSON.stringify(columnsOf(readings))), fromJsonColumns],
    ['binary columns', () => toBinary(readings), fromBinary],
  ];
  return formats.map(([name, encode, decode]) => {
    const content = encode();
    const lost = readingsPerEnvelope - decode(content).length;
    if (lost !== 0) throw new Error(`${name}: ${lost} readings were lost`);
    return {
      name,
      bytesPerReading: content.length / readingsPerEnvelope,
      encode: cost('encode', encode, readingsPerEnvelope),
      decode: cost('decode', () => decode(content), readingsPerEnvelope),
    };
  });
}

type Run = Pick<IdentifiedReading, 'deviceId' | 'epoch' | 'receivedAt'> & {
  readonly readings: Pick<IdentifiedReading, 'seq' | 'ts' | 'metrics'>[];
};

function inRuns(readings: readonly IdentifiedReading[], readingsPerFrame: number): Run[] {
  return Array.from({ length: readings.length / readingsPerFrame }, (_, index) => {
    const run = readings.slice(index * readingsPerFrame, (index + 1) * readingsPerFrame);
    const { deviceId, epoch, receivedAt } = run[0]!;
    return { deviceId, epoch, receivedAt, readings: run.map(({ seq, ts, metrics }) => ({ seq, ts, metrics })) };
  });
}

function fromJson(content: Buffer): IdentifiedReading[] {
  const { runs } = JSON.parse(content.toString('utf8')) as { runs: Run[] };
  return runs.flatMap(({ readings, ...run }) => readings.map((reading) => ({ ...run, ...reading })));
}

interface Columns {
  readonly names: readonly string[];
  readonly devices: readonly string[];
  readonly epochs: readonly string[];
  /** For each reading: device, seq, ts, receivedAt and values. */
  readonly numbers: readonly number[];
}

const fixedColumns = 4;

function columnsOf(readings: readonly IdentifiedReading[]): Columns {
  const names = Object.keys(readings[0]!.metrics);
  const ids = new Map<string, number>();
  const epochs: string[] = [];
  const numbers: number[] = [];
  for (const { deviceId, epoch, seq, ts, receivedAt, metrics } of readings) {
    let device = ids.get(deviceId);
    if (device === undefined) {
      device = ids.size;
      ids.set(deviceId, device);
      epochs.push(epoch);
    }
    numbers.push(device, seq, ts, receivedAt);
    for (const name of names) numbers.push(metrics[name] as number);
  }
  return { names, devices: [...ids.keys()], epochs, numbers };
}

function readingsOf(
  { names, devices: ids, epochs }: Omit<Columns, 'numbers'>,
  numbers: ArrayLike<number>,
): IdentifiedReading[] {
  const width = fixedColumns + names.length;
  return Array.from({ length: numbers.length / width }, (_, index) => {
    const at = index * width;
    const device = numbers[at]!;
    const metrics: Record<string, number> = {};
    for (let column = 0; column < names.length; column += 1)
      metrics[names[column]!] = numbers[at + fixedColumns + column]!;
    return {
      deviceId: ids[device]!,
      epoch: epochs[device]!,
      seq: numbers[at + 1]!,
      ts: numbers[at + 2]!,
      receivedAt: numbers[at + 3]!,
      metrics,
    };
  });
}

function fromJsonColumns(content: Buffer): IdentifiedReading[] {
  const { numbers, ...names } = JSON.parse(content.toString('utf8')) as Columns;
  return readingsOf(names, numbers);
}

/** The length of the names, the names as JSON, then all numbers as doubles. */
function toBinary(readings: readonly IdentifiedReading[]): Buffer {
  const { numbers, ...names } = columnsOf(readings);
  const head = Buffer.from(JSON.stringify(names));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return Buffer.concat([length, head, new Uint8Array(Float64Array.from(numbers).buffer)]);
}

function fromBinary(content: Buffer): IdentifiedReading[] {
  const headEnd = 4 + content.readUInt32LE(0);
  const names = JSON.parse(content.toString('utf8', 4, headEnd)) as Omit<Columns, 'numbers'>;
  // A copy: a Float64Array must start at a multiple of 8 bytes.
  return readingsOf(names, new Float64Array(new Uint8Array(content.subarray(headEnd)).buffer));
}
