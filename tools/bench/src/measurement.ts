import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackingServices } from '@fleetwire/backing-services/backing-services';
import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { generateKeySet } from '@fleetwire/service-kit/key-set';
import type { Logger } from '@fleetwire/service-kit/logger';
import { createTokenMinter } from '@fleetwire/service-kit/tokens';
import pg from 'pg';
import { measureBrokerFloor } from './broker-floor.ts';
import { measureDatabaseFloor } from './database-floor.ts';
import { freshPlace } from './fresh.ts';
import { startLoad } from './load.ts';
import { percentile } from './median.ts';
import { listenerOn, serverBehind } from './process-usage.ts';
import { type ServiceProcesses, metricOf, startServiceProcesses } from './service-processes.ts';
import { measureStoredLatency } from './stored-latency.ts';
import { type ProcessRow, startUsageMeter } from './usage-meter.ts';
import { deviceIdOf } from './workload.ts';

export type MeasurementOptions = {
  readonly services: BackingServices;
  readonly readingsPerFrame: number;
  readonly devices: number;
  readonly seconds: number;
  /** On each socket, while it is flooded. */
  readonly readingsInFlight: number;
  readonly logDir: string;
  readonly logger: Logger;
};

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
const storedTimeoutMs = 120_000;

/** One complete round for one frame size: both floors and the platform, one after the other, each on a vhost and a database of its own. */
export async function measure(options: MeasurementOptions): Promise<Measurement> {
  const { services, readingsPerFrame, devices, seconds, logger } = options;
  const floorSeconds = seconds / 2;
  const forwarders = await forwardersOf(services);
  const floorMeter = await startUsageMeter({ postgres: await serverBehind(services.databaseUrl) }, forwarders);
  const databaseFloor = await inFreshPlace(services, ({ databaseUrl }) =>
    measureDatabaseFloor(databaseUrl, { devices, readingsPerFrame, seconds: floorSeconds }),
  );
  const { othersCpuShare } = await floorMeter.stop();
  const platform = await inFreshPlace(services, (place) => measurePlatform(place, options));
  const { readingsPerEnvelope } = platform;
  const brokerFloor = await inFreshPlace(services, ({ amqpUrl }) =>
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

type Place = { readonly amqpUrl: string; readonly databaseUrl: string };

async function inFreshPlace<T>(services: BackingServices, run: (place: Place) => Promise<T>): Promise<T> {
  await using place = await freshPlace(services);
  return await run(place);
}

type PlatformMeasurement = Omit<Measurement, 'databaseFloor' | 'brokerFloor' | 'ofDatabaseFloor' | 'ofBrokerFloor'>;

async function measurePlatform(place: Place, options: MeasurementOptions): Promise<PlatformMeasurement> {
  const { services, readingsPerFrame, devices, seconds, readingsInFlight, logDir } = options;
  const { privateJwks, publicJwks } = await generateKeySet();
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  const tokenOf = async (deviceId: string) =>
    (await minter.mint({ subject: deviceId, role: 'device', expiresInSeconds: 86_400 })).token;
  const tokens = await Promise.all(Array.from({ length: devices }, (_, index) => tokenOf(deviceIdOf(index))));

  await using running = await startServiceProcesses({
    ...place,
    jwks: publicJwks,
    logDir: join(logDir, `${readingsPerFrame}-a-frame`),
  });
  await using load = startLoad();
  const forwarders = await forwardersOf(services);
  const pids = {
    'ingest-ws': running.ingest.pid,
    'persistence-worker': running.worker.pid,
    rabbitmq: await serverBehind(services.amqpUrl),
    postgres: await serverBehind(services.databaseUrl),
    'load generator': load.pid,
  };
  await load.request({
    type: 'connect',
    url: running.webSocketUrl,
    tokens,
    readingsPerFrame,
    startTs: Date.now() - 3_600_000,
  });
  const warmUp = await load.request({ type: 'flood', seconds: warmUpSeconds, readingsInFlight });
  await untilStored(running, warmUp.readings);

  const envelopesBefore = await envelopesOf(running);
  const meter = await startUsageMeter(pids, forwarders);
  const flood = await load.request({ type: 'flood', seconds, readingsInFlight });
  const ackedAt = epochNow();
  const storedAt = await untilStored(running, warmUp.readings + flood.readings);
  const { processes, othersCpuShare } = await meter.stop();
  const readingsPerEnvelope = Math.max(
    1,
    Math.round(flood.readings / ((await envelopesOf(running)) - envelopesBefore)),
  );
  await assertRows(place.databaseUrl, warmUp.readings + flood.readings);
  const readingsPerSecond = flood.readings / ((storedAt - flood.startedAt) / 1_000);

  await load.request({ type: 'pace', seconds: 1, readingsPerSecond: readingsPerSecond / 3 });
  const paceMeter = await startUsageMeter(pids, forwarders);
  const probing = new AbortController();
  const stored = measureStoredLatency({
    webSocketUrl: running.webSocketUrl,
    databaseUrl: place.databaseUrl,
    tokenOf,
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

async function forwardersOf({ amqpUrl, databaseUrl }: BackingServices): Promise<number[]> {
  const listeners = await Promise.all([amqpUrl, databaseUrl].map((url) => listenerOn(Number(new URL(url).port))));
  return listeners.filter((pid) => pid !== undefined);
}

/** @returns epoch milliseconds of when the worker had committed as many rows */
async function untilStored({ worker }: ServiceProcesses, readings: number): Promise<number> {
  const deadline = performance.now() + storedTimeoutMs;
  while (performance.now() < deadline) {
    if ((await metricOf(worker.url, 'fleetwire_worker_readings_total{outcome="stored"}')) >= readings)
      return epochNow();
    await sleep(20);
  }
  throw new Error(`${readings} readings were not stored within ${storedTimeoutMs} ms`);
}

function envelopesOf({ ingest }: ServiceProcesses): Promise<number> {
  return metricOf(ingest.url, 'fleetwire_publish_confirm_seconds_count');
}

/** The worker's word is checked: every row is there, and once. */
async function assertRows(databaseUrl: string, expected: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ n: number }>('select count(*)::int4 as n from readings');
    if (rows[0]?.n !== expected) throw new Error(`${rows[0]?.n} rows are stored instead of ${expected}`);
  } finally {
    await client.end();
  }
}

function epochNow(): number {
  return performance.timeOrigin + performance.now();
}
