import { measureBrokerFloor } from '../broker-floor.ts';
import { measureDatabaseFloor } from '../database-floor.ts';
import { type FreshPlace, freshPlace } from '../fresh.ts';
import { startLoad } from '../load.ts';
import { percentile } from '../median.ts';
import { BenchPlatform, forwardersOf } from '../platform.ts';
import { serverBehind } from '../process-usage.ts';
import { figuresOf, summarise, table } from '../report.ts';
import { measureStoredLatency } from '../stored-latency.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { type ProcessRow, startUsageMeter } from '../usage-meter.ts';
import { compareValidators } from '../validators.ts';

export type Measurement = {
  readonly readingsPerFrame: number;
  readonly readings: number;
  /** Until the last row was visible. */
  readonly readingsPerSecond: number;
  /** While the load was on: what the edge took, stored or still queued. */
  readonly ackedPerSecond: number;
  readonly databaseFloor: number;
  readonly brokerFloor: number;
  readonly ofDatabaseFloor: number;
  readonly ofBrokerFloor: number;
  readonly readingsPerEnvelope: number;
  readonly nackedReadings: number;
  /** The larger one of the database's floor and the flood. */
  readonly othersCpuShare: number;
  readonly processes: Readonly<Record<string, ProcessRow>>;
  /** At a third of the rate above. */
  readonly latency: {
    readonly readingsPerSecond: number;
    readonly ackP50Ms: number;
    readonly ackP99Ms: number;
    readonly storedP50Ms: number;
    readonly storedP99Ms: number;
    readonly storedSamples: number;
    readonly processes: Readonly<Record<string, ProcessRow>>;
  };
};

const warmUpSeconds = 3;

/** Durable readings a second beside what database and broker could do by themselves, and how long a reading takes at a third of that. */
export async function studyThroughput(context: StudyContext): Promise<StudyResult> {
  const { settings, say } = context;
  const validators = compareValidators();
  const measured: Measurement[][] = settings.frames.map(() => []);
  for (let run = 1; run <= settings.runs; run += 1) {
    for (const [index, readingsPerFrame] of settings.frames.entries()) {
      const measurement = await measure(context, readingsPerFrame);
      measured[index]!.push(measurement);
      const { readingsPerSecond, databaseFloor, ofDatabaseFloor, othersCpuShare } = measurement;
      say(
        `run ${run}: ${readingsPerFrame} a frame: ${Math.round(readingsPerSecond)}/s of a floor of ${Math.round(databaseFloor)}/s: ${ofDatabaseFloor.toFixed(2)}` +
          ` (others took ${Math.round(othersCpuShare * 100)} % of the CPU)`,
      );
    }
  }
  return {
    figures: measured.flatMap(figuresOf),
    details: table(measured.map(summarise), validators),
    data: { validators, runs: measured.flat() },
  };
}

/** One complete round for one frame size: both floors and the platform, one after the other, each on a vhost and a database of its own. */
async function measure(context: StudyContext, readingsPerFrame: number): Promise<Measurement> {
  const { services, logger } = context;
  const { devices, seconds } = context.settings;
  const floorSeconds = seconds / 2;
  const floorMeter = await startUsageMeter(
    { postgres: await serverBehind(services.databaseUrl) },
    await forwardersOf(services),
  );
  const databaseFloor = await inFreshPlace(context, ({ databaseUrl }) =>
    measureDatabaseFloor(databaseUrl, { devices, readingsPerFrame, seconds: floorSeconds }),
  );
  const { othersCpuShare } = await floorMeter.stop();
  const platform = await measurePlatform(context, readingsPerFrame);
  const { readingsPerEnvelope } = platform;
  const brokerFloor = await inFreshPlace(context, ({ amqpUrl }) =>
    measureBrokerFloor(amqpUrl, { devices, readingsPerFrame, readingsPerEnvelope, seconds: floorSeconds, logger }),
  );
  return {
    ...platform,
    othersCpuShare: Math.max(platform.othersCpuShare, othersCpuShare),
    databaseFloor,
    brokerFloor,
    ofDatabaseFloor: platform.readingsPerSecond / databaseFloor,
    ofBrokerFloor: platform.readingsPerSecond / brokerFloor,
  };
}

async function inFreshPlace<T>({ services }: StudyContext, run: (place: FreshPlace) => Promise<T>): Promise<T> {
  await using place = await freshPlace(services);
  return await run(place);
}

type PlatformMeasurement = Omit<Measurement, 'databaseFloor' | 'brokerFloor' | 'ofDatabaseFloor' | 'ofBrokerFloor'>;

async function measurePlatform(context: StudyContext, readingsPerFrame: number): Promise<PlatformMeasurement> {
  const { devices, seconds, inFlight: readingsInFlight } = context.settings;
  await using platform = await BenchPlatform.start(context, { name: `throughput-${readingsPerFrame}-a-frame` });
  await using load = startLoad();
  const loadPid = { 'load generator': load.pid };
  await load.request({
    type: 'connect',
    urls: platform.webSocketUrls,
    tokens: await platform.tokens(devices),
    readingsPerFrame,
    startTs: Date.now() - 3_600_000,
  });
  const warmUp = await load.request({ type: 'flood', seconds: warmUpSeconds, readingsInFlight });
  await platform.untilStored(warmUp.readings);

  const envelopes = () => platform.ingestMetric('fleetwire_publish_confirm_seconds_count');
  const envelopesBefore = await envelopes();
  const meter = await platform.meter(loadPid);
  const flood = await load.request({ type: 'flood', seconds, readingsInFlight });
  const ackedAt = performance.timeOrigin + performance.now();
  const storedAt = await platform.untilStored(warmUp.readings + flood.readings);
  const { processes, othersCpuShare } = await meter.stop();
  const readingsPerEnvelope = Math.max(1, Math.round(flood.readings / ((await envelopes()) - envelopesBefore)));
  await platform.assertRows(warmUp.readings + flood.readings);
  const readingsPerSecond = flood.readings / ((storedAt - flood.startedAt) / 1_000);

  await load.request({ type: 'pace', seconds: 1, readingsPerSecond: readingsPerSecond / 3 });
  const paceMeter = await platform.meter(loadPid);
  const probing = new AbortController();
  const stored = measureStoredLatency({
    webSocketUrl: platform.webSocketUrls[0]!,
    databaseUrl: platform.databaseUrl,
    tokenOf: (deviceId) => platform.tokenOf(deviceId),
    signal: probing.signal,
  });
  const pace = await load.request({ type: 'pace', seconds, readingsPerSecond: readingsPerSecond / 3 });
  probing.abort();
  const samples = await stored;
  const { processes: paceProcesses } = await paceMeter.stop();
  await load.request({ type: 'disconnect' });

  return {
    readingsPerFrame,
    readings: flood.readings,
    readingsPerSecond,
    ackedPerSecond: flood.readings / ((ackedAt - flood.startedAt) / 1_000),
    readingsPerEnvelope,
    nackedReadings: pace.nackedReadings,
    othersCpuShare,
    processes,
    latency: {
      readingsPerSecond: readingsPerSecond / 3,
      ackP50Ms: pace.ackP50Ms,
      ackP99Ms: pace.ackP99Ms,
      storedP50Ms: percentile(samples, 50),
      storedP99Ms: percentile(samples, 99),
      storedSamples: samples.length,
      processes: paceProcesses,
    },
  };
}
