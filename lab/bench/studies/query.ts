import pg from 'pg';
import { startBareQueryServer } from '../bare-query-server.ts';
import { type DuckDbTimes, measureDuckDb } from '../duckdb.ts';
import { type Exports, measureExports } from '../exports.ts';
import { type Figure, type Goal, columns, median, percentile } from '../figure.ts';
import { fillHistory, type HistorySize } from '../history.ts';
import { BenchPlatform } from '../platform.ts';
import { QueryClient } from '../query-client.ts';
import { type Question, questionsOf } from '../query-questions.ts';
import {
  type BesideExpensive,
  type BesideWrites,
  expensiveClients,
  measureBesideExpensive,
  measureBesideWrites,
  withoutLimits,
} from '../reads-beside.ts';
import type { StudyContext, StudyResult } from '../study.ts';

/** 20 devices send each minute, the others about each 53 minutes. */
const size: HistorySize = { days: 90, readings: 5_000_000, devices: 1_000, minuteDevices: 20 };
/** A fifth of them. */
const exportedDays = 18;
const dayMs = 24 * 3_600_000;
const metric = 'temperature';

interface Timed {
  readonly name: string;
  readonly apiMs: number;
  readonly floorMs: number;
  readonly apiP99Ms: number;
  readonly bytes: number;
}

interface Run {
  readonly questions: readonly Timed[];
  readonly exports: Exports;
  /** Measured once; undefined where it is not installed. */
  readonly duckDb: DuckDbTimes | undefined;
  readonly beside: BesideExpensive;
  readonly writing: BesideWrites;
  readonly othersCpuShare: number;
}

/** What questions of analysts take on 5 million readings, beside the same statements by hand behind a bare handler. */
export async function studyQuery(context: StudyContext): Promise<StudyResult> {
  const asked = await measureHistory(context);
  const written = await measureBesideWrites(context);
  const runs = asked.map((measured, index): Run => {
    const writing = written[index]!;
    context.log(`run ${index + 1}: reads beside writes: p99 ${ms(writing.alone)} alone, ${ms(writing.writing)} beside`);
    return { ...measured, writing, othersCpuShare: Math.max(measured.othersCpuShare, writing.othersCpuShare) };
  });
  return { figures: queryFigures(runs), details: queryTable(runs), data: { runs } };
}

type Asked = Omit<Run, 'writing'>;

/** All runs ask one database. */
async function measureHistory(context: StudyContext): Promise<Asked[]> {
  await using platform = await BenchPlatform.start(context, {
    name: 'query',
    ingests: 0,
    workers: 0,
    apis: 1,
    env: withoutLimits,
  });
  context.log(`storing ${size.readings.toLocaleString('en-US')} readings ...`);
  const history = await fillHistory(platform.databaseUrl, size, Date.now());
  const place = { ...history, ...(await placeOf(platform.databaseUrl)) };
  const questions = questionsOf(place);
  const statements = Object.fromEntries(questions.map(({ name, sql }) => [name, sql]));
  await using floor = await startBareQueryServer(platform.databaseUrl, statements);
  const clientOf = async (subject: string) =>
    new QueryClient(`${platform.apiUrl}/api/v1`, {
      authorization: `Bearer ${await platform.roleToken(subject, 'analyst')}`,
    });
  using exporting = await clientOf('export');
  const duckDb = await measureDuckDb(exporting, questions, history);
  const runs: Asked[] = [];
  for (let run = 1; run <= context.settings.runs; run += 1) {
    const meter = await platform.meter({ 'bare handler': floor.pid });
    using api = await clientOf('bench');
    using bare = new QueryClient(floor.url);
    const timed: Timed[] = [];
    for (const question of questions) timed.push(await ask(question, api, bare));
    for (const { name, apiMs, floorMs } of timed)
      context.log(`run ${run}: ${name}: ${ms(apiMs)}, by hand ${ms(floorMs)}`);
    const exports = await measureExports(api, {
      databaseUrl: platform.databaseUrl,
      apiPid: platform.apis[0]!.pid,
      from: history.to - exportedDays * dayMs,
      to: history.to,
    });
    const beside = await measureBesideExpensive(clientOf, { seconds: context.settings.seconds, to: history.to });
    context.log(
      `run ${run}: cheap reads: p99 ${ms(beside.alone)} alone, ${ms(beside.expensive)} beside expensive ones`,
    );
    const { othersCpuShare } = await meter.stop();
    runs.push({ questions: timed, exports, beside, duckDb, othersCpuShare });
  }
  return runs;
}

/** In turns, so that both meet the same machine; the first tenth warms up. */
async function ask({ name, path, requests }: Question, api: QueryClient, bare: QueryClient): Promise<Timed> {
  const apiMs: number[] = [];
  const floorMs: number[] = [];
  let bytes = 0;
  for (let n = -Math.ceil(requests / 10); n < requests; n += 1) {
    const answer = await api.get(path);
    const floor = await bare.get(`/${encodeURIComponent(name)}`);
    bytes = answer.bytes;
    if (n < 0) continue;
    apiMs.push(answer.elapsedMs);
    floorMs.push(floor.elapsedMs);
  }
  return {
    name,
    apiMs: median(apiMs),
    floorMs: median(floorMs),
    apiP99Ms: percentile(apiMs, 99),
    bytes,
  };
}

async function placeOf(databaseUrl: string): Promise<{ readonly position: number; readonly metricKey: number }> {
  await using client = await connect(databaseUrl);
  const { rows } = await client.query<{ position: number; metricKey: number }>(
    `select array_position(names, $1)::int4 as position,
        (select metric_key from rollup_metrics where name = $1) as "metricKey"
      from shapes where $1 = any(names)`,
    [metric],
  );
  return rows[0]!;
}

async function connect(connectionString: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

function queryFigures(runs: readonly Run[]): Figure[] {
  const figure = (
    id: Figure['id'],
    name: string,
    unit: string,
    goal: Goal | undefined,
    valueOf: (run: Run) => number,
  ): Figure => ({
    id,
    name,
    unit,
    ...(goal !== undefined && { goal }),
    samples: runs.map((run) => ({ value: valueOf(run), othersCpuShare: run.othersCpuShare })),
  });
  const most = (bar: number, moonshot?: number): Goal => ({
    direction: 'at most',
    bar,
    ...(moonshot !== undefined && { moonshot }),
  });
  const goals = questionsOf({ readings: 0, from: 0, to: 0, position: 0, metricKey: 0 });
  const asked = goals.flatMap(({ name, ratio, time }, index) => [
    figure({ kind: 'questionRatio', question: name }, `${name}: ÷ by hand`, '', ratio, ({ questions }) => {
      const { apiMs, floorMs } = questions[index]!;
      return apiMs / floorMs;
    }),
    figure({ kind: 'questionTime', question: name }, '  p50', 'ms', time, ({ questions }) => questions[index]!.apiMs),
  ]);
  return [
    ...asked,
    figure(
      { kind: 'csvRate' },
      'CSV of a fifth of the readings: rate ÷ psql \\copy',
      '',
      { direction: 'at least', bar: 0.5, moonshot: 0.9 },
      ({ exports: { csv, copyMs } }) => copyMs / csv.elapsedMs,
    ),
    figure({ kind: 'csvGrowth' }, '  memory growth of query-api', 'MiB', most(50), ({ exports }) => exports.growthMiB),
    figure(
      { kind: 'parquetBytes' },
      'Parquet of the same: bytes ÷ CSV',
      '',
      most(0.25),
      ({ exports: { csv, parquet } }) => parquet.bytes / csv.bytes,
    ),
    figure(
      { kind: 'parquetRate' },
      '  rate ÷ CSV',
      '',
      { direction: 'at least', bar: 0.5 },
      ({ exports: { csv, parquet } }) => csv.elapsedMs / parquet.elapsedMs,
    ),
    figure(
      { kind: 'cheapBesideExpensive' },
      `cheap reads beside ${expensiveClients} expensive clients: p99 ÷ alone`,
      '',
      most(3, 1.5),
      ({ beside }) => beside.expensive / beside.alone,
    ),
    figure(
      { kind: 'readsBesideWrites' },
      'reads beside writes at half of the maximum: p99 ÷ alone',
      '',
      most(3, 1.5),
      ({ writing }) => writing.writing / writing.alone,
    ),
    figure(
      { kind: 'writesBesideReads', at: 'half' },
      '  writes beside that reader: rate lost',
      '',
      most(0.1),
      ({ writing }) => writing.paceLost,
    ),
    figure(
      { kind: 'writesBesideReads', at: 'maximum' },
      '  of writes at full speed beside one reader without pause',
      '',
      undefined,
      ({ writing }) => writing.floodLost,
    ),
  ];
}

function queryTable(runs: readonly Run[]): string {
  const { questions, duckDb } = runs.at(-1)!;
  const inDuckDb = (name: string) => {
    const time = duckDb?.medianMs[name];
    return time === undefined ? '' : ms(time);
  };
  const table = columns([
    ['question', 'p50', 'p99', 'by hand, p50', 'bytes', ...(duckDb === undefined ? [] : ['DuckDB on the export, p50'])],
    ...questions.map(({ name, apiMs, apiP99Ms, floorMs, bytes }) => [
      name,
      ms(apiMs),
      ms(apiP99Ms),
      ms(floorMs),
      bytes.toLocaleString('en-US'),
      ...(duckDb === undefined ? [] : [inDuckDb(name)]),
    ]),
  ]);
  const note =
    duckDb === undefined
      ? 'DuckDB beside it: npm run bench:peers -- --only query'
      : `DuckDB: in the process that asks, on the Parquet export of all readings (${duckDb.bytes.toLocaleString('en-US')} bytes, taken in ${(duckDb.exportMs / 1_000).toFixed(1)} s)`;
  return `${table}\n\n${note}`;
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
