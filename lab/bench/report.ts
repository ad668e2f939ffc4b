import type { AckReferences } from './ack-references.ts';
import type { EnvelopeFormatCost } from './envelope-formats.ts';
import { type Figure, type Goal, columns, median, undisturbedSamples } from './figure.ts';
import { serviceMicrosecondsPerReading } from './loaded-platform.ts';
import type { Measurement } from './studies/throughput.ts';
import type { Cost } from './cost.ts';

/** By readings per frame. */
const databaseFloorGoals: Readonly<Record<number, Goal>> = {
  1: { direction: 'at least', bar: 0.35, moonshot: 0.5 },
  20: { direction: 'at least', bar: 0.55, moonshot: 0.75 },
};
const cpuGoals: Readonly<Record<number, Goal>> = { 1: { direction: 'at most', bar: 30, moonshot: 18 } };
const ackGoal: Goal = { direction: 'at most', bar: 25, moonshot: 10 };
const storedGoal: Goal = { direction: 'at most', bar: 150, moonshot: 50 };

/** @param runs of one frame size */
export function figuresOf(runs: readonly Measurement[]): Figure[] {
  const { readingsPerFrame } = runs[0]!;
  const figure = (
    [kind, name, unit]: readonly [kind: string, name: string, unit: string],
    goal: Goal | undefined,
    valueOf: (run: Measurement) => number,
    othersCpuShareOf: (run: Measurement) => number = (run) => run.othersCpuShare,
  ): Figure => ({
    id: { kind, readingsPerFrame },
    name: `${name}, ${readingsPerFrame} per frame`,
    unit,
    ...(goal !== undefined && { goal }),
    samples: runs.map((run) => ({ value: valueOf(run), othersCpuShare: othersCpuShareOf(run) })),
  });
  const ackRatio = (kind: string, name: string, referenceMs: (references: AckReferences) => number) =>
    figure(
      [kind, name, ''],
      undefined,
      ({ latency, references }) => latency.ackP99Ms / referenceMs(references),
      ({ references, othersCpuShare }) => Math.max(othersCpuShare, references.othersCpuShare),
    );
  return [
    figure(
      ['throughputToDatabaseFloor', 'readings/s ÷ database floor', ''],
      databaseFloorGoals[readingsPerFrame],
      (run) => run.ofDatabaseFloor,
    ),
    figure(['ackP99AtThird', 'ack p99 at a third of full load', 'ms'], ackGoal, ({ latency }) => latency.ackP99Ms),
    ackRatio('ackP99ToBareWebSocket', '  ÷ p99 of a bare WebSocket server', ({ webSocket }) => webSocket.p99Ms),
    ackRatio('ackP99ToBareConfirm', '  ÷ p99 of a bare publisher confirm', ({ confirm }) => confirm.p99Ms),
    ackRatio('ackP99ToBothBare', '  ÷ sum of both', ({ webSocket, confirm }) => webSocket.p99Ms + confirm.p99Ms),
    figure(
      ['ackP99AtThirdWorst', '  ack p99 of the worst of three stretches', 'ms'],
      undefined,
      ({ latency }) => latency.ackP99WorstMs,
    ),
    figure(
      ['storedP99AtThird', 'stored p99 at a third of full load', 'ms'],
      storedGoal,
      ({ latency }) => latency.storedP99Ms,
    ),
    figure(
      ['serviceCpuPerReading', 'CPU per reading, ingest-ws + persistence-worker', 'µs'],
      cpuGoals[readingsPerFrame],
      serviceMicrosecondsPerReading,
    ),
  ];
}

export interface Summary {
  readonly readingsPerFrame: number;
  readonly readingsPerSecond: number;
  readonly ackedPerSecond: number;
  readonly databaseFloor: number;
  readonly brokerFloor: number;
  readonly ofDatabaseFloor: number;
  readonly ofBrokerFloor: number;
  readonly othersCpuShare: number;
  readonly latency: {
    readonly readingsPerSecond: number;
    readonly lateP99Ms: number;
    readonly ackP50Ms: number;
    readonly ackP99Ms: number;
    readonly storedP50Ms: number;
    readonly storedP99Ms: number;
  };
  readonly references: Pick<AckReferences, 'webSocket' | 'confirm'>;
  /** CPU per 100,000 readings of the flood. */
  readonly processes: Readonly<
    Record<string, { readonly cpuSeconds: number; readonly cpuSecondsPer100k: number; readonly memoryBytes: number }>
  >;
}

/**
 * The median of each figure over the runs of one frame size; of memory, the maximum. Disturbed runs are left out; when every run was
 * disturbed, the figures are shown and prove nothing.
 */
export function summarise(all: readonly Measurement[]): Summary {
  const runs = undisturbedSamples(all);
  const of = (pick: (run: Measurement) => number) => median(runs.map(pick));
  const { readingsPerFrame, processes } = runs[0]!;
  return {
    readingsPerFrame,
    readingsPerSecond: of((run) => run.readingsPerSecond),
    ackedPerSecond: of((run) => run.ackedPerSecond),
    databaseFloor: of((run) => run.databaseFloor),
    brokerFloor: of((run) => run.brokerFloor),
    ofDatabaseFloor: of((run) => run.ofDatabaseFloor),
    ofBrokerFloor: of((run) => run.ofBrokerFloor),
    othersCpuShare: of((run) => run.othersCpuShare),
    latency: {
      readingsPerSecond: of((run) => run.latency.readingsPerSecond),
      lateP99Ms: of((run) => run.latency.lateP99Ms),
      ackP50Ms: of((run) => run.latency.ackP50Ms),
      ackP99Ms: of((run) => run.latency.ackP99Ms),
      storedP50Ms: of((run) => run.latency.storedP50Ms),
      storedP99Ms: of((run) => run.latency.storedP99Ms),
    },
    references: {
      webSocket: {
        p50Ms: of((run) => run.references.webSocket.p50Ms),
        p99Ms: of((run) => run.references.webSocket.p99Ms),
      },
      confirm: {
        p50Ms: of((run) => run.references.confirm.p50Ms),
        p99Ms: of((run) => run.references.confirm.p99Ms),
      },
    },
    processes: Object.fromEntries(
      Object.keys(processes).map((name) => [
        name,
        {
          cpuSeconds: of((run) => run.processes[name]?.cpuSeconds ?? 0),
          cpuSecondsPer100k: of((run) => ((run.processes[name]?.cpuSeconds ?? 0) / run.readings) * 100_000),
          memoryBytes: Math.max(...runs.map((run) => run.processes[name]?.memoryBytes ?? 0)),
        },
      ]),
    ),
  };
}

export function table(summaries: readonly Summary[]): string {
  const row = (name: string, cell: (summary: Summary) => string): string[] => [name, ...summaries.map(cell)];
  const names = Object.keys(summaries[0]?.processes ?? {});
  const rows = [
    row('readings per frame', ({ readingsPerFrame }) => String(readingsPerFrame)),
    row('durable readings/s', ({ readingsPerSecond }) => whole(readingsPerSecond)),
    row('  database floor, rows/s', ({ databaseFloor }) => whole(databaseFloor)),
    row('  share of the database floor', ({ ofDatabaseFloor }) => ofDatabaseFloor.toFixed(2)),
    row('  broker floor, readings/s', ({ brokerFloor }) => whole(brokerFloor)),
    row('  share of the broker floor', ({ ofBrokerFloor }) => ofBrokerFloor.toFixed(2)),
    row('acked during the flood, readings/s', ({ ackedPerSecond }) => whole(ackedPerSecond)),
    row('at a third of full load, readings/s', ({ latency }) => whole(latency.readingsPerSecond)),
    row('  load generator late, p99, ms', ({ latency }) => latency.lateP99Ms.toFixed(1)),
    row('  ack p50 / p99, ms', ({ latency }) => quantiles(latency.ackP50Ms, latency.ackP99Ms)),
    row('    bare WebSocket server', ({ references: { webSocket } }) => quantiles(webSocket.p50Ms, webSocket.p99Ms)),
    row('    bare publisher confirm', ({ references: { confirm } }) => quantiles(confirm.p50Ms, confirm.p99Ms)),
    row('  stored p50 / p99, ms', ({ latency }) => quantiles(latency.storedP50Ms, latency.storedP99Ms)),
    ...names.map((name) =>
      row(
        `${name}: CPU s per 100,000 readings, memory MiB`,
        ({ processes }) =>
          `${processes[name]?.cpuSecondsPer100k.toFixed(2)}, ${whole((processes[name]?.memoryBytes ?? 0) / 2 ** 20)}`,
      ),
    ),
  ];
  rows.push(row('CPU used by other programs', ({ othersCpuShare }) => `${(othersCpuShare * 100).toFixed(0)} %`));
  return columns(rows);
}

export function costsLine(what: string, costs: readonly Cost[]): string {
  return `${what}: ${costs.map(({ name, microseconds }) => `${name} ${microseconds.toFixed(2)} µs`).join(' · ')}`;
}

export function formatsTable(readingsPerFrame: number, formats: readonly EnvelopeFormatCost[]): string {
  return columns([
    [`envelope format, per reading, ${readingsPerFrame} per frame`, 'bytes', 'encode, µs', 'decode, µs'],
    ...formats.map(({ name, bytesPerReading, encode, decode }) => [
      name,
      whole(bytesPerReading),
      encode.microseconds.toFixed(2),
      decode.microseconds.toFixed(2),
    ]),
  ]);
}

function quantiles(p50Ms: number, p99Ms: number): string {
  return `${p50Ms.toFixed(1)} / ${p99Ms.toFixed(1)}`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
