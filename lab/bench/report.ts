import type { EnvelopeFormatCost } from './envelope-formats.ts';
import { type Figure, type Goal, calmSamples, columns } from './figure.ts';
import { serviceMicrosecondsPerReading } from './loaded-platform.ts';
import { median } from './median.ts';
import type { Measurement } from './studies/throughput.ts';
import type { Cost } from './cost.ts';

/** By readings a frame, where something is asked. */
const databaseFloorGoals: Readonly<Record<number, Goal>> = {
  1: { direction: 'at least', bar: 0.35, moonshot: 0.5 },
  20: { direction: 'at least', bar: 0.55, moonshot: 0.75 },
};
const cpuGoals: Readonly<Record<number, Goal>> = { 1: { direction: 'at most', bar: 30, moonshot: 18 } };
const ackGoal: Goal = { direction: 'at most', bar: 25, moonshot: 10 };
const storedGoal: Goal = { direction: 'at most', bar: 150, moonshot: 50 };

/** What is asked of the runs of one frame size. */
export function figuresOf(runs: readonly Measurement[]): Figure[] {
  const { readingsPerFrame } = runs[0]!;
  const figure = (
    name: string,
    unit: string,
    goal: Goal | undefined,
    valueOf: (run: Measurement) => number,
  ): Figure => ({
    name: `${name}, ${readingsPerFrame} a frame`,
    unit,
    ...(goal !== undefined && { goal }),
    samples: runs.map((run) => ({ value: valueOf(run), othersCpuShare: run.othersCpuShare })),
  });
  return [
    figure('readings/s ÷ database floor', '', databaseFloorGoals[readingsPerFrame], (run) => run.ofDatabaseFloor),
    figure('ack p99 at a third of the maximum', 'ms', ackGoal, ({ latency }) => latency.ackP99Ms),
    figure('  of the worst of three stretches', 'ms', undefined, ({ latency }) => latency.ackP99WorstMs),
    figure('stored p99 at a third of the maximum', 'ms', storedGoal, ({ latency }) => latency.storedP99Ms),
    figure('CPU a reading, ingest + worker', 'µs', cpuGoals[readingsPerFrame], serviceMicrosecondsPerReading),
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
  /** CPU per 100,000 readings of the flood. */
  readonly processes: Readonly<
    Record<string, { readonly cpuSeconds: number; readonly cpuSecondsPer100k: number; readonly memoryBytes: number }>
  >;
}

/**
 * Medians of the runs of one frame size, each figure by itself; memory is the most of all. Runs during which others took the CPU are
 * left out; where all were disturbed, the figures are shown and prove nothing.
 */
export function summarise(all: readonly Measurement[]): Summary {
  const runs = calmSamples(all);
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
    row('readings a frame', ({ readingsPerFrame }) => String(readingsPerFrame)),
    row('end to end, readings/s', ({ readingsPerSecond }) => whole(readingsPerSecond)),
    row("  database's floor, rows/s", ({ databaseFloor }) => whole(databaseFloor)),
    row("  of the database's floor", ({ ofDatabaseFloor }) => ofDatabaseFloor.toFixed(2)),
    row("  broker's floor, readings/s", ({ brokerFloor }) => whole(brokerFloor)),
    row("  of the broker's floor", ({ ofBrokerFloor }) => ofBrokerFloor.toFixed(2)),
    row('acked while sending, readings/s', ({ ackedPerSecond }) => whole(ackedPerSecond)),
    row('at a third of it, readings/s', ({ latency }) => whole(latency.readingsPerSecond)),
    row('  load late p99, ms', ({ latency }) => latency.lateP99Ms.toFixed(1)),
    row('  acked p50 / p99, ms', ({ latency }) => `${latency.ackP50Ms.toFixed(1)} / ${latency.ackP99Ms.toFixed(1)}`),
    row(
      '  stored p50 / p99, ms',
      ({ latency }) => `${latency.storedP50Ms.toFixed(1)} / ${latency.storedP99Ms.toFixed(1)}`,
    ),
    ...names.map((name) =>
      row(
        `${name}: CPU s per 100,000, memory MiB`,
        ({ processes }) =>
          `${processes[name]?.cpuSecondsPer100k.toFixed(2)}, ${whole((processes[name]?.memoryBytes ?? 0) / 2 ** 20)}`,
      ),
    ),
  ];
  rows.push(row('CPU taken by others', ({ othersCpuShare }) => `${(othersCpuShare * 100).toFixed(0)} %`));
  return columns(rows);
}

export function costsLine(what: string, costs: readonly Cost[]): string {
  return `${what}: ${costs.map(({ name, microseconds }) => `${name} ${microseconds.toFixed(2)} µs`).join(' · ')}`;
}

export function formatsTable(readingsPerFrame: number, formats: readonly EnvelopeFormatCost[]): string {
  return columns([
    [`envelope format, a reading, ${readingsPerFrame} a frame`, 'bytes', 'encode, µs', 'decode, µs'],
    ...formats.map(({ name, bytesPerReading, encode, decode }) => [
      name,
      whole(bytesPerReading),
      encode.microseconds.toFixed(2),
      decode.microseconds.toFixed(2),
    ]),
  ]);
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
