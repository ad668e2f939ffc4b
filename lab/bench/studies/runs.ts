import type { Figure, FigureId, Goal } from '../figure.ts';
import type { StudyContext, StudyResult } from '../study.ts';

interface FigureOf<Run> {
  readonly id: FigureId;
  readonly name: string;
  readonly unit: string;
  readonly goal?: Goal;
  readonly valueOf: (run: Run) => number;
}

/** Measures once per run of the settings, and takes one sample of each figure from each run. */
export async function measureRuns<Run extends { readonly othersCpuShare: number }>(
  context: StudyContext,
  measure: (context: StudyContext) => Promise<Run>,
  figuresOf: readonly FigureOf<Run>[],
): Promise<StudyResult> {
  const runs: Run[] = [];
  for (let run = 1; run <= context.settings.runs; run += 1) {
    const measured = await measure(context);
    runs.push(measured);
    const values = figuresOf.map(({ name, unit, valueOf }) => `${name}: ${valueOf(measured).toFixed(2)} ${unit}`);
    context.log(
      `run ${run}: ${values.join('; ')} (other programs used ${Math.round(measured.othersCpuShare * 100)} % of the CPU)`,
    );
  }
  const figures = figuresOf.map(({ valueOf, ...figure }): Figure => ({
    ...figure,
    samples: runs.map((run) => ({ value: valueOf(run), othersCpuShare: run.othersCpuShare })),
  }));
  return { figures, data: { runs } };
}
