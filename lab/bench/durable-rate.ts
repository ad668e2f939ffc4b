import { startLoad } from './load.ts';
import type { StudySettings } from './study.ts';
import type { UsageMeter, UsageReport } from './usage-meter.ts';

/** Takes readings over WebSocket and stores them in Postgres: Fleetwire, or a pipeline that it is compared with. */
export type Pipeline = AsyncDisposable & {
  readonly webSocketUrls: readonly string[];
  tokens(devices: number): Promise<readonly string[]>;
  meter(loadPids: Readonly<Record<string, number>>): Promise<UsageMeter>;
  /** Resolves when that many rows are visible. @returns epoch milliseconds of that moment */
  untilStored(readings: number): Promise<number>;
  assertRows(expected: number): Promise<void>;
};

export type DurableRate = UsageReport & {
  readonly readings: number;
  /** Until the last row was visible. */
  readonly readingsPerSecond: number;
  /** During the load: readings accepted, stored or still queued. */
  readonly ackedPerSecond: number;
};

const warmUpSeconds = 3;
const readingsPerFrame = 1;
const beforeNowMs = 3_600_000;

/** Durable readings per second of a fleet of sockets that send as fast as acks allow, one reading per frame. */
export async function measureDurableRate(
  pipeline: Pipeline,
  { devices, seconds, inFlight: readingsInFlight }: StudySettings,
): Promise<DurableRate> {
  await using load = startLoad();
  await load.request({
    type: 'connect',
    urls: pipeline.webSocketUrls,
    tokens: await pipeline.tokens(devices),
    readingsPerFrame,
    startTs: Date.now() - beforeNowMs,
  });
  const warmUp = await load.request({ type: 'flood', seconds: warmUpSeconds, readingsInFlight });
  await pipeline.untilStored(warmUp.readings);

  const meter = await pipeline.meter({ 'load generator': load.pid });
  const { readings, startedAt } = await load.request({ type: 'flood', seconds, readingsInFlight });
  const ackedAt = performance.timeOrigin + performance.now();
  const storedAt = await pipeline.untilStored(warmUp.readings + readings);
  const usage = await meter.stop();
  await pipeline.assertRows(warmUp.readings + readings);
  return {
    ...usage,
    readings,
    readingsPerSecond: (readings * 1_000) / (storedAt - startedAt),
    ackedPerSecond: (readings * 1_000) / (ackedAt - startedAt),
  };
}
