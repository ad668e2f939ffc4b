import { statfs } from 'node:fs/promises';
import { type CaughtUp, catchUpRollups } from '../catch-up-rollups.ts';
import { type Figure, type Goal, columns, median } from '../figure.ts';
import { LoadedPlatform } from '../loaded-platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { type TableSize, bytesOf, dataDirectory, tableSizes } from '../table-sizes.ts';
import { metricsPerReading, readingIntervalMs } from '../workload.ts';

/** Rows stored around which the rate is taken. */
const marks = [1e6, 10e6, 30e6] as const;
const [firstMark, , lastMark] = marks;
/** To either side of a mark. The window is about as long as the time between two checkpoints, so that it contains one. */
const windowRowsMax = 2.5e6;
const rowsMax = lastMark + windowRowsMax;
const readingsPerFrame = 20;
/** Little is stored before the first window begins. */
const warmUpSeconds = 1;
const hourMs = 3_600_000;
/** Of load; storing it takes about twice as long. */
const roundSeconds = 4;
/** 33 million rows with their indexes, 2 GB of WAL, and what the queue holds. */
const freeBytesMin = 12e9;

const rateGoal: Goal = { direction: 'at least', bar: 0.8, moonshot: 0.95 };
const bytesGoal: Goal = { direction: 'at most', bar: 46, moonshot: 30 };

export interface Round {
  readonly rowsBefore: number;
  readonly rowsAfter: number;
  readonly seconds: number;
  readonly othersCpuShare: number;
}

export interface GrowthRun {
  readonly rounds: readonly Round[];
  /** After the last round. */
  readonly rollups: CaughtUp;
  readonly tables: readonly TableSize[];
}

/**
 * Fills one database through the whole platform: does throughput fall, and how much disk space does a value take? The readings are of hours that
 * are over, so that writers mark tiles, which is the dearest case of rollups; they are built at the end, and are part of the disk space.
 */
export async function studyGrowth(context: StudyContext): Promise<StudyResult> {
  const runs: GrowthRun[] = [];
  for (let run = 1; run <= context.settings.runs; run += 1) runs.push(await measureRun(context, run));
  return { figures: growthFigures(runs), details: growthTable(runs), data: { runs } };
}

async function measureRun(context: StudyContext, run: number): Promise<GrowthRun> {
  const { settings, log } = context;
  // The readings' timestamps end with the last whole hour: 300 devices with ten readings per second have sent for three hours.
  const lastHour = Math.floor(Date.now() / hourMs) * hourMs;
  const startTs = lastHour - (rowsMax / settings.devices) * readingIntervalMs;
  const name = `growth-${run}`;
  await using platform = await LoadedPlatform.start(context, { name, readingsPerFrame, startTs, warmUpSeconds });
  await assertDiskSpace(platform.databaseUrl);
  const rounds: Round[] = [];
  while (platform.stored < rowsMax) {
    const rowsBefore = platform.stored;
    const { readings, readingsPerSecond, othersCpuShare } = await platform.flood(roundSeconds);
    rounds.push({ rowsBefore, rowsAfter: platform.stored, seconds: readings / readingsPerSecond, othersCpuShare });
    log(`run ${run}: ${millions(platform.stored)} rows, ${Math.round(readingsPerSecond)}/s`);
  }
  await platform.assertRows();
  const rollups = await catchUpRollups(platform.databaseUrl);
  log(
    `run ${run}: ${rollups.tiles} tiles of ${millions(rollups.readings)} readings built in ${seconds(rollups.seconds)}`,
  );
  return { rounds, rollups, tables: await tableSizes(platform.databaseUrl) };
}

async function assertDiskSpace(databaseUrl: string): Promise<void> {
  // The disk of a server on another machine or in a container is unknown.
  const disk = await statfs(await dataDirectory(databaseUrl)).catch(() => undefined);
  const freeBytes = disk === undefined ? Infinity : disk.bavail * disk.bsize;
  if (freeBytes < freeBytesMin)
    throw new Error(
      `the disk of Postgres has ${gigabytes(freeBytes)} free; the growth study needs ${gigabytes(freeBytesMin)}`,
    );
}

/** All rounds that touch the window around the mark: as many rows to either side, and never from the very start. */
function roundsAround(mark: number, rounds: readonly Round[]): readonly Round[] {
  const halfWindow = Math.min(windowRowsMax, mark / 2);
  return rounds.filter(({ rowsBefore, rowsAfter }) => rowsAfter > mark - halfWindow && rowsBefore < mark + halfWindow);
}

/** @returns readings per second */
export function rateAround(mark: number, rounds: readonly Round[]): number {
  const near = roundsAround(mark, rounds);
  return (near.at(-1)!.rowsAfter - near[0]!.rowsBefore) / secondsOf(near);
}

function secondsOf(rounds: readonly Round[]): number {
  return rounds.reduce((sum, { seconds }) => sum + seconds, 0);
}

function othersCpuShareOf(rounds: readonly Round[]): number {
  return rounds.reduce((sum, { seconds, othersCpuShare }) => sum + seconds * othersCpuShare, 0) / secondsOf(rounds);
}

function bytesPerValue({ rounds, tables }: GrowthRun): number {
  return tables.reduce((sum, size) => sum + bytesOf(size), 0) / valuesStored(rounds);
}

export function growthFigures(runs: readonly GrowthRun[]): Figure[] {
  const later = marks.slice(1).map((mark) => ({
    id: { kind: 'throughputAfterGrowth', rows: mark },
    name: `readings/s at ${millions(mark)} rows ÷ at ${millions(firstMark)}`,
    unit: '',
    ...(mark === lastMark && { goal: rateGoal }),
    samples: runs.map(({ rounds }) => ({
      value: rateAround(mark, rounds) / rateAround(firstMark, rounds),
      othersCpuShare: Math.max(...[firstMark, mark].map((at) => othersCpuShareOf(roundsAround(at, rounds)))),
    })),
  }));
  const bytes = {
    id: { kind: 'bytesPerValue' },
    name: 'disk space per value, indexes included',
    unit: 'B',
    goal: bytesGoal,
    samples: runs.map((run) => ({ value: bytesPerValue(run), othersCpuShare: othersCpuShareOf(run.rounds) })),
  };
  const built = {
    id: { kind: 'rollupsBuilt' },
    name: 'rollups built at the end, after marking: readings/s',
    unit: '',
    samples: runs.map(({ rounds, rollups }) => ({
      value: rollups.readings / rollups.seconds,
      othersCpuShare: othersCpuShareOf(rounds.slice(-1)),
    })),
  };
  return [...later, bytes, built];
}

function growthTable(runs: readonly GrowthRun[]): string {
  const rates = marks.map((mark) => [
    `readings/s at ${millions(mark)} rows`,
    ...runs.map(({ rounds }) => Math.round(rateAround(mark, rounds)).toLocaleString('en-US')),
    Math.round(median(runs.map(({ rounds }) => rateAround(mark, rounds)))).toLocaleString('en-US'),
  ]);
  const numbered = runs.map((_, index) => `run ${index + 1}`);
  const rollups = [
    ['tiles marked at the end', ...runs.map(({ rollups: { marked } }) => marked.toLocaleString('en-US'))],
    ['tiles built within a minute', ...runs.map(({ rollups: { tiles } }) => tiles.toLocaleString('en-US'))],
    ['in', ...runs.map(({ rollups: { seconds: taken } }) => seconds(taken))],
  ];
  const table = (head: string, rows: readonly (readonly string[])[], ...more: readonly string[]) =>
    columns([[head, ...numbered, ...more], ...rows]);
  return `${table('throughput', rates, 'median')}\n\n${table('rollups', rollups)}\n\n${sizesTable(runs.at(-1)!)}`;
}

/** The tables of the last run; those below a thousandth of a byte per value have no row, but are in the sum. */
function sizesTable({ rounds, tables }: GrowthRun): string {
  const values = valuesStored(rounds);
  const cells = (name: string, sizes: readonly TableSize[]) => {
    const sum = (of: (size: TableSize) => number) => sizes.reduce((total, size) => total + of(size), 0);
    const parts = [sum((size) => size.heapBytes), sum((size) => size.toastBytes), sum((size) => size.indexBytes)];
    return [name, ...parts.map((part) => (part / values).toFixed(3)), (sum(bytesOf) / values).toFixed(3)];
  };
  const listed = tables.filter((size) => bytesOf(size) / values >= 0.001);
  const head = ['bytes per value (without WAL and catalogs)', 'rows', 'toast', 'indexes', 'all'];
  return columns([head, ...listed.map((size) => cells(size.table, [size])), cells('all tables', tables)]);
}

function valuesStored(rounds: readonly Round[]): number {
  return rounds.at(-1)!.rowsAfter * metricsPerReading;
}

function millions(rows: number): string {
  return `${Number((rows / 1e6).toFixed(1))} M`;
}

function seconds(value: number): string {
  return `${value.toFixed(1)} s`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
