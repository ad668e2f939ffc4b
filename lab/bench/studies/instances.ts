import { type Figure, type Goal, columns, median } from '../figure.ts';
import { type Flood, LoadedPlatform, type Pace, serviceMicrosecondsPerReading } from '../loaded-platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';

const additions = {
  'second worker': { ingests: 1, workers: 2 },
  'second ingest': { ingests: 2, workers: 1 },
} as const;
type Addition = keyof typeof additions;
const additionNames = Object.keys(additions) as Addition[];

const notLess: Goal = { direction: 'at least', bar: 0.9 };
const notMore: Goal = { direction: 'at most', bar: 1.1 };
const quantities: Readonly<Record<string, { readonly goal: Goal; readonly of: (measured: Measured) => number }>> = {
  'readings/s': { goal: notLess, of: ({ flood }) => flood.readingsPerSecond },
  'ack p99': { goal: notMore, of: ({ pace }) => pace.ackP99Ms },
  'stored p99': { goal: notMore, of: ({ pace }) => pace.storedP99Ms },
  'CPU per reading, ingest-ws + persistence-worker': {
    goal: notMore,
    of: ({ flood }) => serviceMicrosecondsPerReading(flood),
  },
};

interface Measured {
  readonly flood: Flood;
  readonly pace: Pace;
}

export type InstancesRun = Readonly<Record<Addition, Measured>> & {
  /** One of each, measured before and after the others: their difference is noise. */
  readonly single: readonly [Measured, Measured];
};

const readingsPerFrame = 1;

/** What a second instance costs without a core of its own: each quantity relative to one ingest-ws and one persistence-worker. */
export async function studyInstances(context: StudyContext): Promise<StudyResult> {
  const runs: InstancesRun[] = [];
  for (let run = 1; run <= context.settings.runs; run += 1) {
    // Alternates the order, so that neither configuration always comes first.
    const order = run % 2 === 1 ? additionNames : additionNames.toReversed();
    runs.push(await measureRun(context, run, order));
  }
  return { figures: instancesFigures(runs), details: instancesTable(runs), data: { runs } };
}

async function measureRun(context: StudyContext, run: number, order: readonly Addition[]): Promise<InstancesRun> {
  const measure = async (name: string, instances: { ingests: number; workers: number }, pacedAt?: number) => {
    await using platform = await LoadedPlatform.start(context, {
      name: `instances-${run}-${name.replaceAll(' ', '-')}`,
      readingsPerFrame,
      ...instances,
    });
    const flood = await platform.flood(context.settings.seconds);
    await platform.assertRows();
    const pace = await platform.pace(context.settings.seconds, pacedAt ?? flood.readingsPerSecond / 3);
    const measured: Measured = { flood, pace };
    context.log(`run ${run}: ${name}: ${described(measured)}`);
    return measured;
  };
  const one = { ingests: 1, workers: 1 };
  const before = await measure('one of each', one);
  const pacedAt = before.pace.readingsPerSecond;
  const added: Partial<Record<Addition, Measured>> = {};
  for (const addition of order) added[addition] = await measure(addition, additions[addition], pacedAt);
  const after = await measure('one of each again', one, pacedAt);
  return { ...(added as Record<Addition, Measured>), single: [before, after] };
}

/** Each quantity divided by that of the single configuration, the mean of its two measurements in the run. */
export function instancesFigures(runs: readonly InstancesRun[]): Figure[] {
  const figure = (
    { configuration, quantity }: { readonly configuration: Addition | 'single again'; readonly quantity: string },
    goal: Goal | undefined,
    valueOf: (run: InstancesRun) => number,
  ): Figure => ({
    id: { kind: 'ratioToSingle', configuration, quantity },
    name: `${configuration}: ${quantity} ÷ single`,
    unit: '',
    ...(goal !== undefined && { goal }),
    samples: runs.map((run) => ({ value: valueOf(run), othersCpuShare: othersCpuShare(run) })),
  });
  const ratios = additionNames.flatMap((configuration) =>
    Object.entries(quantities).map(([quantity, { goal, of }]) =>
      figure({ configuration, quantity }, goal, (run) => {
        const [before, after] = run.single;
        return of(run[configuration]) / ((of(before) + of(after)) / 2);
      }),
    ),
  );
  const chance = Object.entries(quantities).map(([quantity, { of }]) =>
    figure(
      { configuration: 'single again', quantity },
      undefined,
      ({ single: [before, after] }) => of(after) / of(before),
    ),
  );
  return [...ratios, ...chance];
}

function othersCpuShare({ single, ...added }: InstancesRun): number {
  return Math.max(
    ...[...single, ...Object.values(added)].flatMap(({ flood, pace }) => [flood.othersCpuShare, pace.othersCpuShare]),
  );
}

function described({ flood, pace }: Measured): string {
  return (
    `${Math.round(flood.readingsPerSecond)}/s, ${serviceMicrosecondsPerReading(flood).toFixed(1)} µs per reading,` +
    ` at ${Math.round(pace.readingsPerSecond)}/s ack p99 ${pace.ackP99Ms.toFixed(1)} ms, stored p99 ${pace.storedP99Ms.toFixed(1)} ms`
  );
}

function instancesTable(runs: readonly InstancesRun[]): string {
  const row = (name: string, of: (measured: Measured) => number, digits: number) => [
    name,
    ...[
      ({ single: [before] }: InstancesRun) => before,
      ...additionNames.map((addition) => (run: InstancesRun) => run[addition]),
      ({ single: [, after] }: InstancesRun) => after,
    ].map((measuredIn) => median(runs.map((run) => of(measuredIn(run)))).toFixed(digits)),
  ];
  return columns([
    ['median of all runs', 'one of each', ...additionNames, 'one of each again'],
    row('readings/s', ({ flood }) => flood.readingsPerSecond, 0),
    row('readings per envelope', ({ flood }) => flood.readingsPerEnvelope, 0),
    row('CPU per reading, ingest-ws + persistence-worker, µs', ({ flood }) => serviceMicrosecondsPerReading(flood), 2),
    row('at an even rate, readings/s', ({ pace }) => pace.readingsPerSecond, 0),
    row('  ack p50, ms', ({ pace }) => pace.ackP50Ms, 1),
    row('  ack p99, ms', ({ pace }) => pace.ackP99Ms, 1),
    row('  stored p50, ms', ({ pace }) => pace.storedP50Ms, 1),
    row('  stored p99, ms', ({ pace }) => pace.storedP99Ms, 1),
    row(
      '  CPU per reading, ingest-ws + persistence-worker, µs',
      (measured) => serviceMicrosecondsPerReading(measured.pace),
      2,
    ),
  ]);
}
