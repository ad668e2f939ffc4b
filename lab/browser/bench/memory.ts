import { setTimeout as sleep } from 'node:timers/promises';
import type { Value } from './figure-list.ts';
import { chartDevice } from './load.ts';
import { type BenchContext, openPage } from './page.ts';
import { slopeOf } from './measures.ts';

interface Sample {
  readonly minute: number;
  readonly heapBytes: number;
  readonly nodes: number;
}

const samplesOf = 120;
const sampleSecondsMin = 5;
const slopeMbPerHourMax = 3;
/** A shorter run has no trend: its charts still fill their range, and the engine still compiles. */
const trendMinutesMin = 10;

/** The heap after forced garbage collections while live charts of a device are open, which a fleet beside it keeps busy. */
export async function measureMemory(
  context: BenchContext,
  { minutes, log }: { readonly minutes: number; readonly log: (line: string) => void },
): Promise<readonly Value[]> {
  await using opened = await openPage(context, 'staying');
  const { page } = opened;
  await page.goto(`/devices/${chartDevice}?from=now-5m&metrics=temperature,humidity,pressure,voltage,rssi`);
  await page.locator('.uplot canvas').first().waitFor();
  const debugging = await page.context().newCDPSession(page);
  await debugging.send('HeapProfiler.enable');
  const startedAt = performance.now();
  const everySeconds = Math.max(sampleSecondsMin, (minutes * 60) / samplesOf);
  const samples: Sample[] = [];
  while (performance.now() - startedAt < minutes * 60_000) {
    await sleep(everySeconds * 1_000);
    // The second collection takes what only weak references held.
    await debugging.send('HeapProfiler.collectGarbage');
    await debugging.send('HeapProfiler.collectGarbage');
    const { usedSize } = await debugging.send('Runtime.getHeapUsage');
    const { nodes } = await debugging.send('Memory.getDOMCounters');
    const minute = (performance.now() - startedAt) / 60_000;
    samples.push({ minute, heapBytes: usedSize, nodes });
    log(`  after ${minute.toFixed(1)} min: ${(usedSize / 1e6).toFixed(2)} MB, ${nodes} nodes`);
  }
  const isShort = minutes < trendMinutesMin;
  const ends: Value[] = [
    { kind: 'heapStart', name: 'heap of live charts, first sample', unit: 'MB', value: samples[0]!.heapBytes / 1e6 },
    {
      kind: 'heapEnd',
      name: `  last sample, after ${minutes} min${isShort ? `: too short for a trend, which takes ${trendMinutesMin} min` : ''}`,
      unit: 'MB',
      value: samples.at(-1)!.heapBytes / 1e6,
    },
  ];
  if (isShort) return ends;
  // In its first half the page fills its range and its buffers.
  const later = samples.slice(Math.floor(samples.length / 2));
  return [
    ...ends,
    {
      kind: 'heapSlope',
      name: '  trend of the second half',
      unit: 'MB/h',
      goal: { direction: 'at most', bar: slopeMbPerHourMax },
      value: slopeOf(later.map(({ minute, heapBytes }) => [minute / 60, heapBytes / 1e6])),
    },
    {
      kind: 'nodesSlope',
      name: '  trend of the nodes of the page',
      unit: '1/h',
      value: slopeOf(later.map(({ minute, nodes }) => [minute / 60, nodes])),
    },
  ];
}
