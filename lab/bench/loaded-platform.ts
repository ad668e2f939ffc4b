import type { Role } from '@fleetwire/contracts/access';
import { type Load, startLoad } from './load.ts';
import type { LoadResult } from './load-messages.ts';
import { median, percentile } from './figure.ts';
import { BenchPlatform, type PlatformOptions } from './platform.ts';
import { measureStoredLatency } from './stored-latency.ts';
import type { StudyContext } from './study.ts';
import type { ProcessRow, UsageReport } from './usage-meter.ts';

export interface Batches {
  readonly envelopes: number;
  readonly transactions: number;
}

export type Flood = UsageReport & {
  readonly readings: number;
  /** Counted until the last row was visible. */
  readonly readingsPerSecond: number;
  /** While the load was on: readings that ingest-ws acknowledged, stored or still queued. */
  readonly ackedPerSecond: number;
  readonly readingsPerEnvelope: number;
  readonly batches: Batches;
};

export type Pace = UsageReport & {
  readonly readings: number;
  readonly readingsPerSecond: number;
  readonly nackedReadings: number;
  /** How late the load generator sent: no latency of the platform, but it shows whether the pace was kept. */
  readonly lateP99Ms: number;
  readonly ackP50Ms: number;
  /** The median over its stretches. */
  readonly ackP99Ms: number;
  readonly ackP99WorstMs: number;
  readonly storedP50Ms: number;
  readonly storedP99Ms: number;
  readonly storedSamples: number;
  readonly batches: Batches;
};

export type LoadedPlatformOptions = PlatformOptions & {
  readonly readingsPerFrame: number;
  /** Epoch milliseconds of each device's first reading; an hour ago without it. */
  readonly startTs?: number;
  readonly warmUpSeconds?: number;
};

const warmUpSecondsDefault = 3;
const paceWarmUpSeconds = 1;
/** The 99th percentile of one stretch says little: a single stall decides it, and two runs of one configuration differed by a factor of six. */
const paceStretches = 3;
/** Of a measurement's length. */
const paceStretchShare = 0.5;
const beforeNowMs = 3_600_000;

/** A warm platform with a connected fleet, to be measured under several loads. */
export class LoadedPlatform implements AsyncDisposable {
  readonly #context: StudyContext;
  readonly #platform: BenchPlatform;
  readonly #load: Load;
  readonly #stack: AsyncDisposableStack;
  #stored: number;

  private constructor(
    context: StudyContext,
    platform: BenchPlatform,
    load: Load,
    warmUpReadings: number,
    stack: AsyncDisposableStack,
  ) {
    this.#context = context;
    this.#platform = platform;
    this.#load = load;
    this.#stored = warmUpReadings;
    this.#stack = stack;
  }

  static async start(context: StudyContext, options: LoadedPlatformOptions): Promise<LoadedPlatform> {
    const { devices, inFlight: readingsInFlight } = context.settings;
    const { readingsPerFrame, startTs = Date.now() - beforeNowMs, warmUpSeconds = warmUpSecondsDefault } = options;
    await using started = new AsyncDisposableStack();
    const platform = started.use(await BenchPlatform.start(context, options));
    const load = started.use(startLoad());
    await load.request({
      type: 'connect',
      urls: platform.webSocketUrls,
      tokens: await platform.tokens(devices),
      readingsPerFrame,
      startTs,
    });
    const { readings } = await load.request({ type: 'flood', seconds: warmUpSeconds, readingsInFlight });
    await platform.untilStored(readings);
    return new LoadedPlatform(context, platform, load, readings, started.move());
  }

  get databaseUrl(): string {
    return this.#platform.databaseUrl;
  }

  get apiUrl(): string {
    return this.#platform.apiUrl;
  }

  roleToken(subject: string, role: Role): Promise<string> {
    return this.#platform.roleToken(subject, role);
  }

  /** Rows of the warm-up and of all floods. */
  get stored(): number {
    return this.#stored;
  }

  /** Sends as fast as acks allow, and waits until every reading is stored. */
  async flood(seconds: number): Promise<Flood> {
    const batchesSince = await this.#countBatches();
    const meter = await this.#meter();
    const { inFlight: readingsInFlight } = this.#context.settings;
    const { readings, startedAt } = await this.#load.request({ type: 'flood', seconds, readingsInFlight });
    const ackedAt = performance.timeOrigin + performance.now();
    this.#stored += readings;
    const storedAt = await this.#platform.untilStored(this.#stored);
    const usage = await meter.stop();
    const batches = await batchesSince();
    return {
      ...usage,
      readings,
      readingsPerSecond: (readings * 1_000) / (storedAt - startedAt),
      ackedPerSecond: (readings * 1_000) / (ackedAt - startedAt),
      readingsPerEnvelope: Math.max(1, Math.round(readings / batches.envelopes)),
      batches,
    };
  }

  /** Sends at an even rate, and waits until every reading is stored. */
  async steady(
    seconds: number,
    readingsPerSecond: number,
  ): Promise<Pick<Flood, 'readingsPerSecond' | 'othersCpuShare'>> {
    const meter = await this.#meter();
    const { readings, startedAt } = await this.#load.request({ type: 'pace', seconds, readingsPerSecond });
    this.#stored += readings;
    const storedAt = await this.#platform.untilStored(this.#stored);
    const { othersCpuShare } = await meter.stop();
    return { readingsPerSecond: (readings * 1_000) / (storedAt - startedAt), othersCpuShare };
  }

  /** Every row of the floods is stored. */
  assertRows(): Promise<void> {
    return this.#platform.assertRows(this.#stored);
  }

  /**
   * Sends at an even rate: first in stretches that measure acks, then with probes beside the fleet, whose queries take CPU time from the acks.
   * It must be the last measurement: the rows of the probes are not counted, and the fleet disconnects.
   */
  async pace(seconds: number, readingsPerSecond: number): Promise<Pace> {
    const stretchSeconds = seconds * paceStretchShare;
    await this.#load.request({ type: 'pace', seconds: paceWarmUpSeconds, readingsPerSecond });
    const batchesSince = await this.#countBatches();
    const meter = await this.#meter();
    const acked: LoadResult[] = [];
    for (let stretch = 0; stretch < paceStretches; stretch += 1)
      acked.push(await this.#load.request({ type: 'pace', seconds: stretchSeconds, readingsPerSecond }));
    const usage = await meter.stop();
    const batches = await batchesSince();
    const probing = new AbortController();
    const samplesTaken = measureStoredLatency({
      webSocketUrl: this.#platform.webSocketUrls[0]!,
      databaseUrl: this.#platform.databaseUrl,
      tokenOf: (deviceId) => this.#platform.tokenOf(deviceId),
      signal: probing.signal,
    });
    await this.#load.request({ type: 'pace', seconds: paceStretches * stretchSeconds, readingsPerSecond });
    probing.abort();
    const samples = await samplesTaken;
    await this.#load.request({ type: 'disconnect' });
    const sum = (of: (result: LoadResult) => number) => acked.reduce((total, result) => total + of(result), 0);
    const middle = (of: (result: LoadResult) => number) => median(acked.map(of));
    return {
      ...usage,
      readings: sum((result) => result.readings),
      readingsPerSecond,
      nackedReadings: sum((result) => result.nackedReadings),
      lateP99Ms: middle((result) => result.lateP99Ms),
      ackP50Ms: middle((result) => result.ackP50Ms),
      ackP99Ms: middle((result) => result.ackP99Ms),
      ackP99WorstMs: Math.max(...acked.map((result) => result.ackP99Ms)),
      storedP50Ms: percentile(samples, 50),
      storedP99Ms: percentile(samples, 99),
      storedSamples: samples.length,
      batches,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #countBatches(): Promise<() => Promise<Batches>> {
    const envelopes = () => this.#platform.ingestMetric('fleetwire_publish_confirm_seconds_count');
    const transactions = () => this.#platform.workerMetric('fleetwire_worker_batch_readings_count');
    const [envelopesBefore, transactionsBefore] = [await envelopes(), await transactions()];
    return async () => ({
      envelopes: (await envelopes()) - envelopesBefore,
      transactions: (await transactions()) - transactionsBefore,
    });
  }

  #meter() {
    return this.#platform.meter({ 'load generator': this.#load.pid });
  }
}

/** CPU time of all instances of ingest-ws and persistence-worker. */
export function serviceMicrosecondsPerReading(measured: {
  readonly readings: number;
  readonly processes: Readonly<Record<string, ProcessRow>>;
}): number {
  const seconds = Object.entries(measured.processes)
    .filter(([name]) => name.startsWith('ingest-ws') || name.startsWith('persistence-worker'))
    .reduce((sum, [, { cpuSeconds }]) => sum + cpuSeconds, 0);
  return (seconds / measured.readings) * 1e6;
}
