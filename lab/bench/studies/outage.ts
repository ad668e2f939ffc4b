import { setTimeout as sleep } from 'node:timers/promises';
import { startLoad } from '../load.ts';
import { median } from '../figure.ts';
import { watchMemory } from '../memory-watch.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const sockets = 300;
const readingsPerSecond = 5_000;
const warmUpSeconds = 25;
/** The end of the warm-up: growth is counted from its memory. */
const steadySeconds = 5;
const outageSeconds = 60;
/** The load continues for so long while the worker catches up. */
const afterSeconds = 20;
/** Readings of a tenth of a second in flight are no backlog. */
const backlogReadingsMax = readingsPerSecond / 10;
const catchUpTimeoutSeconds = 120;
const lookIntervalMs = 50;
const ackedShareMin = 0.99;

/**
 * Postgres is stopped for a minute (SIGSTOP: its connections stay open and do not answer) while 300 sockets send 5,000 readings per second,
 * one per frame, and continue to send afterwards. Growth is the maximum resident memory of ingest-ws and persistence-worker together minus the
 * median of the 5 s before. It is taken twice: while Postgres is stopped, which shows whether anything accumulates, and until the load ends,
 * when the worker has caught up at full speed and its heap is as large as under full load. Devices are acked all the time, and every reading
 * is stored once in the end.
 */
export async function studyOutage(context: StudyContext): Promise<StudyResult> {
  return measureRuns(context, measure, [
    {
      id: { kind: 'outageMemoryGrowth' },
      name: 'Postgres stopped for 60 s at 5,000 readings/s: memory growth of ingest-ws + persistence-worker',
      unit: 'MB',
      goal: { direction: 'at most', bar: 100, moonshot: 40 },
      valueOf: ({ growthBytes }) => growthBytes / 1e6,
    },
    {
      id: { kind: 'catchUpMemoryGrowth' },
      name: '  until the backlog is stored, at full speed',
      unit: 'MB',
      valueOf: ({ caughtUpGrowthBytes }) => caughtUpGrowthBytes / 1e6,
    },
    {
      id: { kind: 'catchUpSeconds' },
      name: '  time to store the backlog',
      unit: 's',
      valueOf: ({ catchUpSeconds }) => catchUpSeconds,
    },
  ]);
}

async function measure(context: StudyContext) {
  const { postgres } = context.services.control;
  if (postgres === undefined) throw new Error('the outage study needs a Postgres that the bench has started itself');
  await using platform = await BenchPlatform.start(context, { name: 'outage' });
  await using load = startLoad();
  await load.request({
    type: 'connect',
    urls: platform.webSocketUrls,
    tokens: await platform.tokens(sockets),
    readingsPerFrame: 1,
    startTs: Date.now() - 3_600_000,
  });
  const meter = await platform.meter({ 'load generator': load.pid });
  const pids = [...platform.ingests, ...platform.workers].map(({ pid }) => pid);
  const accepted = () => platform.ingestMetric('fleetwire_ingest_readings_total{result="accepted"}');

  const pausePostgres = async () => {
    const before = await accepted();
    await postgres.pause();
    try {
      await sleep(outageSeconds * 1_000);
      return (await accepted()) - before;
    } finally {
      await postgres.resume();
    }
  };
  const stopAndResume = async () => {
    await sleep((warmUpSeconds - steadySeconds) * 1_000);
    const steady = median(await watchMemory(pids, () => sleep(steadySeconds * 1_000)));
    let acked = 0;
    const stopped = await watchMemory(pids, async () => {
      acked = await pausePostgres();
    });
    let catchUpSeconds = 0;
    const after = await watchMemory(pids, async () => {
      catchUpSeconds = await untilStored(platform, async () => (await accepted()) - backlogReadingsMax);
      await sleep(Math.max(0, afterSeconds - catchUpSeconds) * 1_000);
    });
    if (acked < ackedShareMin * outageSeconds * readingsPerSecond)
      throw new Error(`only ${acked} readings were acked while Postgres was stopped`);
    const growthBytes = Math.max(...stopped) - steady;
    return {
      steady,
      growthBytes,
      caughtUpGrowthBytes: Math.max(growthBytes, Math.max(...after) - steady),
      catchUpSeconds,
    };
  };
  const [pace, memory] = await Promise.all([
    load.request({ type: 'pace', seconds: warmUpSeconds + outageSeconds + afterSeconds, readingsPerSecond }),
    stopAndResume(),
  ]);
  const { othersCpuShare, processes } = await meter.stop();
  await untilStored(platform, async () => pace.readings);
  await platform.assertStoredOnce(pace.readings);
  return { ...memory, ...pace, processes, othersCpuShare };
}

/** A batch that was committed when the connection broke counts as duplicate afterwards. @returns seconds */
async function untilStored(platform: BenchPlatform, expected: () => Promise<number>): Promise<number> {
  const startedAt = performance.now();
  const seconds = () => (performance.now() - startedAt) / 1_000;
  const outcome = (name: string) => platform.workerMetric(`fleetwire_worker_readings_total{outcome="${name}"}`);
  while (seconds() < catchUpTimeoutSeconds) {
    const wanted = await expected();
    if ((await outcome('stored')) + (await outcome('duplicate')) >= wanted) return seconds();
    await sleep(lookIntervalMs);
  }
  throw new Error(`the worker did not catch up within ${catchUpTimeoutSeconds} s`);
}
