import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { type Database, openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { readings } from '@fleetwire/store/readers';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type Figure, type Goal, columns, median } from '../figure.ts';
import { freshPlace } from '../fresh.ts';
import { forwardersOf } from '../platform.ts';
import { serverBehind } from '../process-usage.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { startUsageMeter } from '../usage-meter.ts';
import { deviceIdOf, metricsAt } from '../workload.ts';

const dayMs = 24 * 60 * 60 * 1_000;
const devices = 50;
const readingsPerDevice = 1_000;
/** Over 21 days: four partitions of a week. */
const intervalMs = (21 * dayMs) / readingsPerDevice;
/** Of each kind, on each database, alternating. */
const readsPerRun = 1_000;
/** The next device of a read, in no particular order. */
const stride = 17;

const goal: Goal = { direction: 'at most', bar: 1.2 };

const reads = {
  'newest 100': { limit: 100, fromMs: undefined },
  'newest 500': { limit: 500, fromMs: undefined },
  'last day': { limit: 500, fromMs: dayMs },
} as const;
type Read = keyof typeof reads;
const readNames = Object.keys(reads) as Read[];

const fillings = {
  'another device fills 2000 to today': (weeks: readonly number[]) => weeks.map((ts, seq) => past('filler', seq, ts)),
  'every device has a reading a year since 2000': (weeks: readonly number[]) =>
    weeks
      .filter((_, index) => index % 52 === 0)
      .flatMap((ts, seq) => Array.from({ length: devices }, (_, device) => past(deviceIdOf(device), seq, ts))),
} as const;
type Filling = keyof typeof fillings;
const fillingNames = Object.keys(fillings) as Filling[];

interface Comparison {
  readonly filling: Filling;
  readonly read: Read;
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly partitions: number;
  readonly othersCpuShare: number;
}

/** What the history of a device costs to read in a database with readings of every week since 2000, beside one without. */
export async function studyPast(context: StudyContext): Promise<StudyResult> {
  const comparisons: Comparison[] = [];
  for (let run = 1; run <= context.settings.runs; run += 1) {
    for (const filling of fillingNames) {
      const measured = await compare(context, filling);
      comparisons.push(...measured);
      for (const { read, beforeMs, afterMs, partitions } of measured)
        context.log(`run ${run}: ${filling}: ${read}: ${ms(beforeMs)} to ${ms(afterMs)} (${partitions} partitions)`);
    }
  }
  return { figures: pastFigures(comparisons), details: pastTable(comparisons), data: comparisons };
}

async function compare(context: StudyContext, filling: Filling): Promise<Comparison[]> {
  const now = Date.now();
  await using recent = await filled(context, now, []);
  await using past = await filled(context, now, fillings[filling](weeksSince2000(now)));
  const times = new Map(readNames.map((name) => [name, { before: [] as number[], after: [] as number[] }]));
  const { services } = context;
  const meter = await startUsageMeter(
    { postgres: await serverBehind(services.databaseUrl) },
    await forwardersOf(services),
  );
  for (let index = 0; index < readsPerRun; index += 1) {
    const deviceId = deviceIdOf((index * stride) % devices);
    for (const name of readNames) {
      const { before, after } = times.get(name)!;
      before.push(await timed(recent.database, name, deviceId, now));
      after.push(await timed(past.database, name, deviceId, now));
    }
  }
  const { othersCpuShare } = await meter.stop();
  const { rows } = await past.database.pool.query<{ count: number }>(
    `select count(*) from pg_inherits where inhparent = 'readings'::regclass`,
  );
  return readNames.map((read) => {
    const { before, after } = times.get(read)!;
    const partitions = rows[0]?.count ?? 0;
    return { filling, read, beforeMs: median(before), afterMs: median(after), partitions, othersCpuShare };
  });
}

async function timed(database: Database, name: Read, deviceId: string, now: number): Promise<number> {
  const { limit, fromMs } = reads[name];
  const from = fromMs === undefined ? Date.UTC(2000, 0, 1) : now - fromMs;
  const startedAt = performance.now();
  const found = await readings(database, { deviceId, from, to: now + dayMs, limit, order: 'desc' });
  const elapsedMs = performance.now() - startedAt;
  if (found.length === 0) throw new Error(`no readings of ${deviceId} were found`);
  return elapsedMs;
}

async function filled(
  { services }: StudyContext,
  now: number,
  older: readonly IdentifiedReading[],
): Promise<{ readonly database: Database } & AsyncDisposable> {
  await using made = new AsyncDisposableStack();
  const place = made.use(await freshPlace(services));
  await migrate(place.databaseUrl);
  const open = (pipelined: boolean) =>
    made.adopt(
      openDatabase({
        databaseUrl: place.databaseUrl,
        poolMax: 2,
        statementTimeoutMs: 60_000,
        applicationName: 'bench',
        pipelined,
      }),
      (one) => one.close(),
    );
  const writing = open(true);
  const writer = createBatchWriter(writing.pool);
  const startTs = now - readingsPerDevice * intervalMs;
  for (let device = 0; device < devices; device += 1)
    await writer.write(
      Array.from({ length: readingsPerDevice }, (_, seq) => ({
        deviceId: deviceIdOf(device),
        epoch: 'bench',
        seq,
        ts: Math.floor(startTs + seq * intervalMs),
        receivedAt: now,
        metrics: { ...metricsAt(device, seq) },
      })),
    );
  await writer.write(older);
  await writing.pool.query('vacuum (freeze, analyze)');
  const database = open(false);
  const stack = made.move();
  return { database, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function weeksSince2000(now: number): number[] {
  const first = Date.UTC(2000, 0, 3);
  return Array.from({ length: Math.floor((now - first) / (7 * dayMs)) }, (_, week) => first + week * 7 * dayMs);
}

function past(deviceId: string, seq: number, ts: number): IdentifiedReading {
  return { deviceId, epoch: 'past', seq, ts, receivedAt: Date.now(), metrics: { temperature: seq } };
}

function pastFigures(comparisons: readonly Comparison[]): Figure[] {
  return fillingNames.flatMap((filling) =>
    readNames.map((read) => ({
      id: { kind: 'readsWithPast', filling, read },
      name: `history, ${read}: time when ${filling} ÷ before`,
      unit: '',
      goal,
      samples: comparisons
        .filter((one) => one.filling === filling && one.read === read)
        .map(({ beforeMs, afterMs, othersCpuShare }) => ({ value: afterMs / beforeMs, othersCpuShare })),
    })),
  );
}

function pastTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ filling, read, beforeMs, afterMs, partitions }) => [
    filling,
    read,
    ms(beforeMs),
    ms(afterMs),
    String(partitions),
  ]);
  return columns([['history of one device', 'read', 'before (p50)', 'after (p50)', 'partitions'], ...rows]);
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
