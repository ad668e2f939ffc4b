import { readFile, writeFile } from 'node:fs/promises';
import { type CostId, costKey, isCostId } from '../bench/cost-figures.ts';
import type { FigureId } from '../bench/figure.ts';

/** Costs measured by one run of `npm run bench`. */
export interface CostMeasurement {
  readonly measuredOn: string;
  readonly machine: string;
  /** The studies of that run. */
  readonly studies: string;
  /** Each value is the median of this many undisturbed runs. */
  readonly runs: number;
  readonly figures: readonly MeasuredCost[];
}

export interface MeasuredCost {
  readonly id: CostId;
  readonly value: number;
  readonly unit: string;
}

const file = new URL('costs.json', import.meta.url);

export async function readCostTable(): Promise<readonly CostMeasurement[]> {
  return JSON.parse(await readFile(file, 'utf8')) as CostMeasurement[];
}

/** The part of the bench's JSON file that is used here. */
interface BenchFile {
  readonly startedAt: string;
  readonly machine: { readonly cpus: number; readonly model?: string };
  readonly backing: readonly string[];
  readonly studies: Readonly<Record<string, unknown>>;
  readonly figures: readonly {
    readonly id: FigureId;
    readonly unit: string;
    readonly median: number;
    readonly undisturbedRuns: number;
  }[];
}

/** Replaces the costs in costs.json that a JSON file of the bench has anew. */
export async function refreshCostTable(benchFile: string): Promise<void> {
  const bench = JSON.parse(await readFile(benchFile, 'utf8')) as BenchFile;
  await writeFile(file, textOf(merged(await readCostTable(), measuredIn(bench))));
}

/** The costs in a JSON file of the bench, rounded to five digits; figures of other kinds are left out. */
export function measuredIn({ startedAt, machine, backing, studies, figures }: BenchFile): CostMeasurement[] {
  const costs = figures.flatMap(({ id, unit, median, undisturbedRuns }) =>
    isCostId(id) ? [{ runs: undisturbedRuns, cost: { id, value: Number(median.toPrecision(5)), unit } }] : [],
  );
  return [...Map.groupBy(costs, ({ runs }) => runs)].map(([runs, group]) => ({
    measuredOn: startedAt.slice(0, 10),
    machine: `${machine.cpus} × ${machine.model ?? 'unknown CPU'}, ${backing.join(', ')}`,
    studies: Object.keys(studies).join(', '),
    runs,
    figures: group.map(({ cost }) => cost),
  }));
}

export function merged(old: readonly CostMeasurement[], fresh: readonly CostMeasurement[]): CostMeasurement[] {
  const replaced = new Set(fresh.flatMap(({ figures }) => figures.map(({ id }) => costKey(id))));
  const kept = old.map((measurement) => ({
    ...measurement,
    figures: measurement.figures.filter(({ id }) => !replaced.has(costKey(id))),
  }));
  return [...kept.filter(({ figures }) => figures.length > 0), ...fresh];
}

/** JSON with one figure per line, so that a refresh can be read as a diff. */
export function textOf(table: readonly CostMeasurement[]): string {
  const measurements = table.map(({ figures, ...source }) => {
    const head = JSON.stringify(source, undefined, 2).slice(0, -'\n}'.length);
    return `${head},\n  "figures": [\n${figures.map((cost) => `    ${JSON.stringify(cost)}`).join(',\n')}\n  ]\n}`;
  });
  return `[\n${measurements.join(',\n')}\n]\n`;
}
