import type { Measurement } from './measurement.ts';
import { median } from './median.ts';
import type { ValidatorCost } from './validators.ts';

/** Of the machine; beyond it somebody else's work decides the figures. */
const othersCpuShareMax = 0.1;

/** The least share of the database's floor, by readings a frame. */
export const bars: Readonly<Record<number, number>> = { 1: 0.2, 20: 0.35 };

/** `disturbed`: others took so much of the CPU that neither could be shown. */
export type Verdict = 'pass' | 'fail' | 'disturbed';

export type Summary = {
  readonly readingsPerFrame: number;
  readonly runs: number;
  readonly calmRuns: number;
  readonly readingsPerSecond: number;
  readonly ackedPerSecond: number;
  readonly databaseFloor: number;
  readonly brokerFloor: number;
  readonly ofDatabaseFloor: number;
  readonly ofBrokerFloor: number;
  readonly bar: number;
  readonly verdict: Verdict;
  readonly othersCpuShare: number;
  readonly latency: {
    readonly readingsPerSecond: number;
    readonly ackP50Ms: number;
    readonly ackP99Ms: number;
    readonly storedP50Ms: number;
    readonly storedP99Ms: number;
  };
  /** CPU per 100,000 readings of the flood. */
  readonly processes: Readonly<
    Record<string, { readonly cpuSeconds: number; readonly cpuSecondsPer100k: number; readonly peakBytes: number }>
  >;
};

/**
 * Medians of the runs of one frame size, each figure by itself; memory is the most of all. Runs during which others took the CPU are
 * left out; where all were disturbed, the figures are shown and prove nothing.
 */
export function summarise(all: readonly Measurement[]): Summary {
  const calm = all.filter(({ othersCpuShare }) => othersCpuShare <= othersCpuShareMax);
  const runs = calm.length > 0 ? calm : all;
  const of = (pick: (run: Measurement) => number) => median(runs.map(pick));
  const { readingsPerFrame, processes } = runs[0]!;
  const bar = bars[readingsPerFrame] ?? 0;
  const ofDatabaseFloor = of((run) => run.ofDatabaseFloor);
  return {
    readingsPerFrame,
    runs: all.length,
    calmRuns: calm.length,
    readingsPerSecond: of((run) => run.readingsPerSecond),
    ackedPerSecond: of((run) => run.ackedPerSecond),
    databaseFloor: of((run) => run.databaseFloor),
    brokerFloor: of((run) => run.brokerFloor),
    ofDatabaseFloor,
    ofBrokerFloor: of((run) => run.ofBrokerFloor),
    bar,
    verdict: calm.length === 0 ? 'disturbed' : passOrFail(ofDatabaseFloor >= bar),
    othersCpuShare: of((run) => run.othersCpuShare),
    latency: {
      readingsPerSecond: of((run) => run.latency.readingsPerSecond),
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
          peakBytes: Math.max(...runs.map((run) => run.processes[name]?.peakBytes ?? 0)),
        },
      ]),
    ),
  };
}

function passOrFail(isPassed: boolean): Verdict {
  return isPassed ? 'pass' : 'fail';
}

export function table(summaries: readonly Summary[], validators: readonly ValidatorCost[]): string {
  const row = (name: string, cell: (summary: Summary) => string): string[] => [name, ...summaries.map(cell)];
  const names = Object.keys(summaries[0]?.processes ?? {});
  const rows = [
    row('readings a frame', ({ readingsPerFrame }) => String(readingsPerFrame)),
    row('end to end, readings/s', ({ readingsPerSecond }) => whole(readingsPerSecond)),
    row("  database's floor, rows/s", ({ databaseFloor }) => whole(databaseFloor)),
    row(
      "  of the database's floor",
      ({ ofDatabaseFloor, bar, verdict }) => `${ofDatabaseFloor.toFixed(2)} (bar ${bar.toFixed(2)}: ${verdict})`,
    ),
    row("  broker's floor, readings/s", ({ brokerFloor }) => whole(brokerFloor)),
    row("  of the broker's floor", ({ ofBrokerFloor }) => ofBrokerFloor.toFixed(2)),
    row('acked while sending, readings/s', ({ ackedPerSecond }) => whole(ackedPerSecond)),
    row('at a third of it, readings/s', ({ latency }) => whole(latency.readingsPerSecond)),
    row('  acked p50 / p99, ms', ({ latency }) => `${latency.ackP50Ms.toFixed(1)} / ${latency.ackP99Ms.toFixed(1)}`),
    row(
      '  stored p50 / p99, ms',
      ({ latency }) => `${latency.storedP50Ms.toFixed(1)} / ${latency.storedP99Ms.toFixed(1)}`,
    ),
    ...names.map((name) =>
      row(
        `${name}: CPU s per 100,000, peak MiB`,
        ({ processes }) =>
          `${processes[name]?.cpuSecondsPer100k.toFixed(2)}, ${whole((processes[name]?.peakBytes ?? 0) / 2 ** 20)}`,
      ),
    ),
  ];
  rows.push(row('undisturbed runs', ({ calmRuns, runs }) => `${calmRuns} of ${runs}`));
  rows.push(row('  CPU taken by others', ({ othersCpuShare }) => `${(othersCpuShare * 100).toFixed(0)} %`));
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('   '),
  );
  const costs = validators.map(({ name, microseconds }) => `${name} ${microseconds.toFixed(2)} µs`).join(' · ');
  return `${lines.join('\n')}\n\nchecking one five-metric reading: ${costs}`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
