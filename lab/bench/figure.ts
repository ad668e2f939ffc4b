import { median } from './median.ts';

/** Of the machine; beyond it somebody else's work decides what is measured. */
const othersCpuShareMax = 0.1;

/** What one run gave. */
interface Sample {
  readonly value: number;
  /** Of the machine's CPU time during the run, what neither the platform nor its load used. */
  readonly othersCpuShare: number;
}

export interface Goal {
  readonly direction: 'at least' | 'at most';
  /** What must be reached. */
  readonly bar: number;
  /** What one would be proud of. */
  readonly moonshot?: number;
}

/** Something measured, once a run. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly goal?: Goal;
  readonly samples: readonly Sample[];
}

/** `disturbed`: others took so much of the CPU in every run that nothing was shown. `none`: nothing is asked of the figure. */
type Verdict = 'moonshot' | 'bar' | 'missed' | 'disturbed' | 'none';

export interface Judgement {
  /** Of the runs that nobody disturbed; where all were disturbed, of all. */
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly runs: number;
  readonly calmRuns: number;
  readonly verdict: Verdict;
}

/** The samples that count: of the runs that nobody disturbed, or of all where there was none. */
export function calmSamples<T extends { readonly othersCpuShare: number }>(all: readonly T[]): readonly T[] {
  const calm = all.filter(isCalm);
  return calm.length > 0 ? calm : all;
}

export function judge({ samples, goal }: Figure): Judgement {
  const values = calmSamples(samples).map(({ value }) => value);
  const calmRuns = samples.filter(isCalm).length;
  const middle = median(values);
  return {
    median: middle,
    least: Math.min(...values),
    most: Math.max(...values),
    runs: samples.length,
    calmRuns,
    verdict: goal === undefined ? 'none' : calmRuns === 0 ? 'disturbed' : verdictOf(middle, goal),
  };
}

function isCalm({ othersCpuShare }: { readonly othersCpuShare: number }): boolean {
  return othersCpuShare <= othersCpuShareMax;
}

function verdictOf(value: number, { direction, bar, moonshot }: Goal): Verdict {
  const reaches = (mark: number) => (direction === 'at least' ? value >= mark : value <= mark);
  if (moonshot !== undefined && reaches(moonshot)) return 'moonshot';
  return reaches(bar) ? 'bar' : 'missed';
}

/** One line a figure: the median, what the runs lay between, what is asked for, and whether it was reached. */
export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, unit, goal } = figure;
    const { median: middle, least, most, runs, calmRuns, verdict } = judge(figure);
    return [
      name,
      `${number(middle)} ${unit}`,
      `${number(least)} to ${number(most)}`,
      `${calmRuns} of ${runs}`,
      goal === undefined ? '' : `${goal.direction === 'at least' ? '≥' : '≤'} ${goal.bar}`,
      goal?.moonshot === undefined ? '' : String(goal.moonshot),
      verdict === 'none' ? '' : verdict,
    ];
  });
  return columns([['figure', 'median', 'between', 'calm runs', 'bar', 'moonshot', 'reached'], ...rows]);
}

/** Cells in columns of equal width, the first to the left and the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows
    .map((cells) =>
      cells
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}

function number(value: number): string {
  const digits = Math.abs(value) >= 1_000 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
