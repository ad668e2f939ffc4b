import { setTimeout as sleep } from 'node:timers/promises';
import { startLoad } from '../load.ts';
import { median } from '../median.ts';
import { watchMemory } from '../memory-watch.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const sockets = 300;
const readingsPerSecond = 5_000;
const warmUpSeconds = 25;
/** The end of the warm-up, whose memory is the level that growth is counted from. */
const steadySeconds = 5;
const outageSeconds = 60;
/** The load goes on as long while the worker catches up. */
const afterSeconds = 20;
/** A tenth of a second's readings under way are no backlog. */
const backlogReadingsMax = readingsPerSecond / 10;
const catchUpTimeoutSeconds = 120;
const lookIntervalMs = 50;
const ackedShareMin = 0.99;

/**
 * Postgres is stopped for a minute (SIGSTOP: its connections stay open, and silent) while 300 sockets send 5,000 readings a second, one a
 * frame, and go on sending after. Growth is the most resident memory of ingest-ws and persistence-worker together minus the median of the 5 s
 * before: while Postgres is away, which shows whether anything piles up, and until the load ends, when the worker has caught up at full speed
 * and its heap is as large as under full load. Devices are acked all the time, and every reading is stored once in the end.
 */
export async function studyOutage(context: StudyContext): Promise<StudyResult> {
  return measureRuns(context, measure, [
    {
      name: 'Postgres away 60 s at 5,000/s: growth of ingest + worker',
      unit: 'MB',
      goal: { direction: 'at most', bar: 100, moonshot: 40 },
      valueOf: ({ growthBytes }) => growthBytes / 1e6,
    },
    {
      name: 'the same until all is stored, at full speed',
      unit: 'MB',
      valueOf: ({ caughtUpGrowthBytes }) => caughtUpGrowthBytes / 1e6,
    },
    { name: 'after it, until all is stored', unit: 's', valueOf: ({ catchUpSeconds }) => catchUpSeconds },
  ]);
}

async function measure(context: StudyContext) {
  const { postgres } = context.services.control;
  if (postgres === undefined) throw new Error('the outage needs a Postgres that the bench has started itself');
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
  const breakAndMend = async () => {
    await sleep((warmUpSeconds - steadySeconds) * 1_000);
    const steady = median(await watchMemory(pids, () => sleep(steadySeconds * 1_000)));
    let acked = 0;
    const away = await watchMemory(pids, async () => {
      acked = await pausePostgres();
    });
    let catchUpSeconds = 0;
    const after = await watchMemory(pids, async () => {
      catchUpSeconds = await untilStored(platform, async () => (await accepted()) - backlogReadingsMax);
      await sleep(Math.max(0, afterSeconds - catchUpSeconds) * 1_000);
    });
    if (acked < ackedShareMin * outageSeconds * readingsPerSecond)
      throw new Error(`only ${acked} readings were acked while Postgres was away`);
    const growthBytes = Math.max(...away) - steady;
    return {
      steady,
      growthBytes,
      caughtUpGrowthBytes: Math.max(growthBytes, Math.max(...after) - steady),
      catchUpSeconds,
    };
  };
  const [pace, memory] = await Promise.all([
    load.request({ type: 'pace', seconds: warmUpSeconds + outageSeconds + afterSeconds, readingsPerSecond }),
    breakAndMend(),
  ]);
  const { othersCpuShare, processes } = await meter.stop();
  await untilStored(platform, async () => pace.readings);
  await platform.assertStoredOnce(pace.readings);
  return { ...memory, ...pace, processes, othersCpuShare };
}

/** What was committed when the connection broke is found to be a duplicate afterwards. @returns seconds */
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
