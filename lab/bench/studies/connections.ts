import { setTimeout as sleep } from 'node:timers/promises';
import { costFigure } from '../cost-figures.ts';
import { startLoad } from '../load.ts';
import { median } from '../figure.ts';
import { watchMemory } from '../memory-watch.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const sockets = 10_000;
const readingIntervalSeconds = 10;
const readingsPerSecond = sockets / readingIntervalSeconds;
/** These connect, send and disconnect first, so that neither compiled code nor what V8 reserves for any first socket is measured. */
const warmUpSockets = 500;
const warmUpSeconds = 10;
const idleSeconds = 3;
const goal = { direction: 'at most', bar: 20, moonshot: 10 } as const;

/**
 * Memory per connected device that sends seldom: the resident memory of ingest-ws with 10,000 devices, each sending one reading of five
 * metrics every 10 s, minus its resident memory before they connected, divided by the sockets. Both are medians over time: of 3 s without any
 * socket, and of the 10 s in which each device sends its second reading. Garbage collection is not forced; the kernel's buffers are not
 * counted.
 */
export async function studyConnections(context: StudyContext): Promise<StudyResult> {
  return measureRuns(context, measure, [
    {
      ...costFigure({ kind: 'memoryPerSocket', sockets }),
      goal,
      valueOf: ({ bytesPerSocket }) => bytesPerSocket / 1_000,
    },
  ]);
}

async function measure(context: StudyContext) {
  await using platform = await BenchPlatform.start(context, { name: 'connections' });
  await using load = startLoad();
  const tokens = await platform.tokens(sockets);
  const pid = platform.ingests[0]!.pid;
  const connection = {
    type: 'connect',
    urls: platform.webSocketUrls,
    readingsPerFrame: 1,
    startTs: Date.now(),
  } as const;
  await load.request({ ...connection, tokens: tokens.slice(0, warmUpSockets) });
  const warmUp = await load.request({ type: 'pace', seconds: warmUpSeconds, readingsPerSecond });
  await load.request({ type: 'disconnect' });
  const meter = await platform.meter({ 'load generator': load.pid });
  const before = median(await watchMemory([pid], () => sleep(idleSeconds * 1_000)));

  await load.request({ ...connection, tokens });
  const round = { type: 'pace', seconds: readingIntervalSeconds, readingsPerSecond } as const;
  await load.request(round);
  const connected = median(await watchMemory([pid], () => load.request(round)));
  const { othersCpuShare } = await meter.stop();
  const readings = warmUp.readings + 2 * sockets;
  await platform.untilStored(readings);
  await platform.assertStoredOnce(readings);
  return { othersCpuShare, before, connected, bytesPerSocket: (connected - before) / sockets };
}
