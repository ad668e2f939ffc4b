import type { FigureId } from './figure.ts';

/** The measured costs that `lab/scaling` calculates with: what each is, in words, and its unit. */
const costs = {
  readingsPerSecond: { label: 'throughput', unit: 'readings/s' },
  cpuPerReading: { label: 'CPU per reading', unit: 'µs' },
  readingsPerEnvelope: { label: 'envelope size', unit: 'readings' },
  readingsPerTransaction: { label: 'transaction size', unit: 'readings' },
  ackP50: { label: 'ack p50', unit: 'ms' },
  ackP99: { label: 'ack p99', unit: 'ms' },
  storedP50: { label: 'stored p50', unit: 'ms' },
  storedP99: { label: 'stored p99', unit: 'ms' },
  cpuPerEnvelope: { label: 'CPU per envelope', unit: 'µs' },
  cpuPerTransaction: { label: 'CPU per transaction', unit: 'µs' },
  rowsPerSecond: { label: 'rows written', unit: 'rows/s' },
  cpuPerRow: { label: 'CPU per row', unit: 'µs' },
  walBytesPerRow: { label: 'WAL per row', unit: 'bytes' },
  walBytesPerDeviceAfterCheckpoint: { label: 'additional WAL per device after a checkpoint', unit: 'bytes' },
  bytesPerRow: { label: 'disk space per row', unit: 'bytes' },
  bytesPerDevice: { label: 'disk space per device', unit: 'bytes' },
  messagesPerSecond: { label: 'messages published and confirmed', unit: 'messages/s' },
  cpuPerMessage: { label: 'CPU per message', unit: 'µs' },
  idleBytes: { label: 'memory without connections', unit: 'bytes' },
  cpuPerHandshake: { label: 'CPU per handshake', unit: 'µs' },
  handshakesPerSecond: { label: 'handshake rate', unit: '1/s' },
  frameBytesPerReading: { label: 'size of a reading in a frame', unit: 'bytes' },
  envelopeBytesPerReading: { label: 'size of a reading in an envelope', unit: 'bytes' },
  memoryPerSocket: { label: 'memory per socket', unit: 'kB' },
} as const satisfies Record<string, { readonly label: string; readonly unit: string }>;

const loads = { full: 'at full load', third: 'at a third of full load', low: 'at low load' } as const;

type CostKind = keyof typeof costs;
export type CostLoad = keyof typeof loads;

/** What was measured and, where it matters, under which conditions. */
export interface CostId extends FigureId {
  readonly kind: CostKind;
  readonly load?: CostLoad | undefined;
  /** The process or the component that spends it. */
  readonly process?: string | undefined;
  readonly sockets?: number | undefined;
  readonly devices?: number | undefined;
  readonly readingsPerFrame?: number | undefined;
  /** Readings of each device that were in the tables before. */
  readonly storedPerDevice?: number | undefined;
  readonly readingsPerMessage?: number | undefined;
}

export function isCostId(id: FigureId): id is CostId {
  return id.kind in costs;
}

export function costUnit({ kind }: CostId): string {
  return costs[kind].unit;
}

/** For readers: what was measured, without {@link costConditions}. */
export function costLabel({ kind, load, process }: CostId): string {
  const { label } = costs[kind];
  return [load === undefined ? label : `${label} ${loads[load]}`, ...(process === undefined ? [] : [process])].join(
    ', ',
  );
}

/** For readers: the fleet that it was measured with. Empty where that plays no part. */
export function costConditions({
  sockets,
  devices,
  readingsPerFrame,
  storedPerDevice,
  readingsPerMessage,
}: CostId): string {
  return [
    ...(sockets === undefined ? [] : [`${whole(sockets)} sockets`]),
    ...(devices === undefined ? [] : [`${whole(devices)} devices`]),
    ...(readingsPerFrame === undefined ? [] : [perUnit(readingsPerFrame, 'frame')]),
    ...(storedPerDevice === undefined ? [] : [`${whole(storedPerDevice)} readings stored of each`]),
    ...(readingsPerMessage === undefined ? [] : [perUnit(readingsPerMessage, 'message')]),
  ].join(', ');
}

/** What a figure of the bench needs beside its samples. */
export function costFigure(id: CostId): { readonly id: CostId; readonly name: string; readonly unit: string } {
  const conditions = costConditions(id);
  return { id, name: conditions === '' ? costLabel(id) : `${costLabel(id)}, ${conditions}`, unit: costUnit(id) };
}

function perUnit(readings: number, unit: string): string {
  return `${whole(readings)} ${readings === 1 ? 'reading' : 'readings'} per ${unit}`;
}

function whole(count: number): string {
  return count.toLocaleString('en-US');
}

/** The same for equal ids, whatever the order of their fields. */
export function costKey(id: CostId): string {
  const { kind, load, process, sockets, devices, readingsPerFrame, storedPerDevice, readingsPerMessage } = id;
  return JSON.stringify([kind, load, process, sockets, devices, readingsPerFrame, storedPerDevice, readingsPerMessage]);
}
