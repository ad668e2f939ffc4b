import { readFile, writeFile } from 'node:fs/promises';

/** Something measured by `npm run bench`, and where, and when. */
export interface Measured {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  /** Of the run that it was measured in. */
  readonly studies: string;
  readonly runs: number;
  readonly measuredOn: string;
  readonly machine: string;
}

const file = new URL('costs.json', import.meta.url);

export async function readCostTable(): Promise<readonly Measured[]> {
  return JSON.parse(await readFile(file, 'utf8')) as Measured[];
}

/** Of what the bench writes, what is read here. */
interface BenchFile {
  readonly startedAt: string;
  readonly machine: { readonly cpus: number; readonly model?: string };
  readonly backing: readonly string[];
  readonly studies: Readonly<Record<string, unknown>>;
  readonly figures: readonly {
    readonly name: string;
    readonly unit: string;
    readonly median: number;
    readonly calmRuns: number;
  }[];
}

/** Takes all figures from a file of the bench; those that the table has already get the new values. */
export async function refreshCostTable(benchFile: string): Promise<void> {
  const bench = JSON.parse(await readFile(benchFile, 'utf8')) as BenchFile;
  const table = merged(await readCostTable(), measuredIn(bench));
  await writeFile(file, `${JSON.stringify(table, undefined, 2)}\n`);
}

export function measuredIn({ startedAt, machine, backing, studies, figures }: BenchFile): Measured[] {
  return figures.map(({ name, unit, median, calmRuns }) => ({
    figure: name,
    value: Number(median.toPrecision(5)),
    unit,
    studies: Object.keys(studies).join(', '),
    runs: calmRuns,
    measuredOn: startedAt.slice(0, 10),
    machine: `${machine.cpus} × ${machine.model ?? 'unknown CPU'}, ${backing.join(', ')}`,
  }));
}

function merged(old: readonly Measured[], fresh: readonly Measured[]): Measured[] {
  const byFigure = new Map([...old, ...fresh].map((row) => [row.figure, row]));
  return [...byFigure.values()];
}
