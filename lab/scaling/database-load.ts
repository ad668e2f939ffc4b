import { assumptions } from './assumptions.ts';
import type { Costs, TableCosts } from './costs.ts';
import { type Fleet, readingsPerSecond } from './fleet.ts';

export interface DatabaseLoad {
  readonly cores: number;
  readonly walBytesPerSecond: number;
  readonly bytesPerDay: number;
  readonly bytes: number;
  readonly hotBytes: number;
  readonly ledgerBytesPerYear: number;
}

/** Readings per row of the sequence ledger, while a device does not boot. */
const readingsPerBlock = 1_024;
/** Metrics per reading of the bench. */
const metricsMeasured = 5;
const bytesPerNumber = 8;
const secondsPerDay = 86_400;

/** The load of all nodes together, with the devices distributed over them. */
export function databaseLoad(fleet: Fleet, costs: Costs, nodes: number): DatabaseLoad {
  const { devices, readingsPerMessage, metricsPerReading, retentionDays, bootsPerDay } = fleet;
  const readings = readingsPerSecond(fleet);
  const { cpuMicros, walBytes, walBytesAfterCheckpoint } = rowCosts(costs, devices / nodes);
  const fewDevices = costs.tables[0]!;
  // Latest state, sequence ledger and index page are written once per message, whatever the number of its readings.
  const sharedOut = (whole: number, least: number) => least + Math.max(0, whole - least) / readingsPerMessage;
  const messagesPerCheckpoint = Math.max(1, assumptions.checkpointSeconds / fleet.secondsPerMessage);
  const wholePages = walBytesAfterCheckpoint / messagesPerCheckpoint / readingsPerMessage;
  const bytesPerRow = costs.bytesPerRow + (metricsPerReading - metricsMeasured) * bytesPerNumber;
  const bytesPerDay = readings * secondsPerDay * bytesPerRow;
  const blocksPerDay = devices * bootsPerDay + (readings * secondsPerDay) / readingsPerBlock;
  return {
    cores: (readings * sharedOut(cpuMicros, fewDevices.cpuMicros)) / 1e6,
    walBytesPerSecond: readings * (sharedOut(walBytes, fewDevices.walBytes) + wholePages),
    bytesPerDay,
    bytes: bytesPerDay * retentionDays,
    hotBytes: devices * (costs.bytesPerDevice + assumptions.indexPageBytes),
    ledgerBytesPerYear: blocksPerDay * 365 * assumptions.ledgerRowBytes,
  };
}

/** Costs of one row in tables that already hold data, by the number of devices: log-linear between the measured sizes, constant beyond. */
export function rowCosts(costs: Costs, devices: number): Omit<TableCosts, 'devices' | 'rowsPerSecond'> {
  const fresh = costs.tables.find((table) => table.devices === costs.grown.devices)!;
  const between = (cost: 'cpuMicros' | 'walBytes' | 'walBytesAfterCheckpoint') =>
    interpolate(costs.tables, devices, cost) * Math.max(1, costs.grown[cost] / fresh[cost]);
  return {
    cpuMicros: between('cpuMicros'),
    walBytes: between('walBytes'),
    walBytesAfterCheckpoint: between('walBytesAfterCheckpoint'),
  };
}

function interpolate(tables: readonly TableCosts[], devices: number, cost: keyof TableCosts): number {
  // Noise can make a larger table look a little cheaper than a smaller one; it never is.
  let least = 0;
  const rising = tables.map((table) => (least = Math.max(least, table[cost])));
  const above = tables.findIndex((table) => table.devices >= devices);
  if (above === 0) return rising[0]!;
  if (above === -1) return rising.at(-1)!;
  const [from, to] = [tables[above - 1]!, tables[above]!];
  const share = Math.log(devices / from.devices) / Math.log(to.devices / from.devices);
  return rising[above - 1]! + share * (rising[above]! - rising[above - 1]!);
}
