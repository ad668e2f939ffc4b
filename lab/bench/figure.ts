/** Share of the machine's CPU time. Beyond it, other programs decide what is measured. */
const othersCpuShareMax = 0.1;

/** The value of one run. */
export interface Sample {
  readonly value: number;
  /** Share of the machine's CPU time during the run that neither the platform nor its load used. */
  readonly othersCpuShare: number;
}

export interface Goal {
  readonly direction: 'at least' | 'at most';
  /** Must be reached. */
  readonly bar: number;
  /** Should be reached one day. */
  readonly moonshot?: number;
}

/**
 * Says what was measured, and under which conditions. Programs that read the bench's JSON file look figures up by it; names are for readers
 * and may change.
 */
export interface FigureId {
  readonly kind: string;
  readonly [condition: string]: string | number | undefined;
}

/** Something measured, once per run. */
export interface Figure {
  readonly id: FigureId;
  /** For readers. */
  readonly name: string;
  readonly unit: string;
  readonly goal?: Goal;
  readonly samples: readonly Sample[];
}

/** `disturbed`: other programs took so much CPU in every run that the figure proves nothing. `none`: the figure has no goal. */
type Verdict = 'moonshot' | 'bar' | 'missed' | 'disturbed' | 'none';

export interface Judgement {
  /** Of the undisturbed runs; of all runs when every one was disturbed. */
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly runs: number;
  readonly undisturbedRuns: number;
  readonly verdict: Verdict;
}

/** The samples that count: those of undisturbed runs, or all when every run was disturbed. */
export function undisturbedSamples<T extends { readonly othersCpuShare: number }>(all: readonly T[]): readonly T[] {
  const undisturbed = all.filter(isUndisturbed);
  return undisturbed.length > 0 ? undisturbed : all;
}

export function judge({ samples, goal }: Figure): Judgement {
  const values = undisturbedSamples(samples).map(({ value }) => value);
  const undisturbedRuns = samples.filter(isUndisturbed).length;
  const middle = median(values);
  return {
    median: middle,
    least: Math.min(...values),
    most: Math.max(...values),
    runs: samples.length,
    undisturbedRuns,
    verdict: goal === undefined ? 'none' : undisturbedRuns === 0 ? 'disturbed' : verdictOf(middle, goal),
  };
}

function isUndisturbed({ othersCpuShare }: { readonly othersCpuShare: number }): boolean {
  return othersCpuShare <= othersCpuShareMax;
}

function verdictOf(value: number, { direction, bar, moonshot }: Goal): Verdict {
  const reaches = (mark: number) => (direction === 'at least' ? value >= mark : value <= mark);
  if (moonshot !== undefined && reaches(moonshot)) return 'moonshot';
  return reaches(bar) ? 'bar' : 'missed';
}

/** One line per figure: the median, the range of the runs, the goal, and whether it was reached. */
export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, unit, goal } = figure;
    const { median: middle, least, most, runs, undisturbedRuns, verdict } = judge(figure);
    return [
      name,
      `${number(middle)} ${unit}`,
      `${number(least)} to ${number(most)}`,
      `${undisturbedRuns} of ${runs}`,
      goal === undefined ? '' : `${goal.direction === 'at least' ? '≥' : '≤'} ${goal.bar}`,
      goal?.moonshot === undefined ? '' : String(goal.moonshot),
      verdict === 'none' ? '' : verdict,
    ];
  });
  return columns([['figure', 'median', 'range', 'undisturbed runs', 'bar', 'moonshot', 'reached'], ...rows]);
}

/** Aligns cells in columns, the first to the left and the others to the right. */
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

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** By nearest rank; 0 of an empty list. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}
