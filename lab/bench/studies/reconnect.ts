import { startLoad } from '../load.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const devices = 5_000;
/** A little less than the 5 s of the goal, which includes the last device's hello. */
const returnWithinMs = 4_900;

/**
 * ingest-ws is killed and restarted immediately while 5,000 devices are connected. Each reconnects at a random moment of the next 4.9 s, with
 * its token, which the new process has never seen; after a failed attempt it retries with the backoff of the device protocol. Counted from
 * the first socket lost to the last hello.
 */
export async function studyReconnect(context: StudyContext): Promise<StudyResult> {
  return measureRuns(context, measure, [
    {
      id: { kind: 'reconnectSeconds' },
      name: '5,000 devices reconnect within 5 s: until the last hello',
      unit: 's',
      goal: { direction: 'at most', bar: 10, moonshot: 5 },
      valueOf: ({ seconds }) => seconds,
    },
    {
      id: { kind: 'helloP99' },
      name: '  from attempt to hello, p99',
      unit: 'ms',
      valueOf: ({ helloP99Ms }) => helloP99Ms,
    },
    {
      id: { kind: 'refusedDevices' },
      name: '  refused for good',
      unit: 'devices',
      goal: { direction: 'at most', bar: 0 },
      valueOf: ({ refusedDevices }) => refusedDevices,
    },
  ]);
}

async function measure(context: StudyContext) {
  await using platform = await BenchPlatform.start(context, { name: 'reconnect' });
  await using load = startLoad();
  await load.request({
    type: 'connect',
    urls: platform.webSocketUrls,
    tokens: await platform.tokens(devices),
    readingsPerFrame: 1,
    startTs: Date.now(),
    returnWithinMs,
  });
  const sendOneEach = { type: 'pace', seconds: 2, readingsPerSecond: devices / 2 } as const;
  await load.request(sendOneEach);
  const meter = await platform.meter({ 'load generator': load.pid });
  const [back] = await Promise.all([load.request({ type: 'return' }), platform.ingests[0]!.crash()]);
  const { othersCpuShare } = await meter.stop();
  // Every device can still send.
  await load.request(sendOneEach);
  await platform.untilStored(2 * devices);
  await platform.assertStoredOnce(2 * devices);
  return { ...back, othersCpuShare };
}
