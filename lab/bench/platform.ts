import { join } from 'node:path';
import type { Role } from '@fleetwire/contracts/access';
import { Platform } from '@fleetwire/platform/platform';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { eventually } from '@fleetwire/platform/testing/eventually';
import pg from 'pg';
import { freshPlace } from './fresh.ts';
import { listenerOn, serverBehind } from './process-usage.ts';
import type { StudyContext } from './study.ts';
import { type UsageMeter, startUsageMeter } from './usage-meter.ts';
import { deviceIdOf } from './workload.ts';

export interface PlatformOptions {
  /** Distinguishes its logs and profiles from those of other platforms of the run. */
  readonly name: string;
  readonly ingests?: number;
  readonly workers?: number;
  readonly apis?: number;
  /** Configuration of the services, besides what the bench must set. */
  readonly env?: Readonly<Record<string, string>>;
}

const storedIntervalMs = 20;

/** ingest-ws and persistence-worker as processes, on a fresh vhost and database of the bench's servers. */
export class BenchPlatform implements AsyncDisposable {
  readonly databaseUrl: string;
  readonly #context: StudyContext;
  readonly #platform: Platform;
  readonly #stack: AsyncDisposableStack;

  private constructor(context: StudyContext, databaseUrl: string, platform: Platform, stack: AsyncDisposableStack) {
    this.#context = context;
    this.databaseUrl = databaseUrl;
    this.#platform = platform;
    this.#stack = stack;
  }

  static async start(
    context: StudyContext,
    { name, ingests = 1, workers = 1, apis = 0, env = {} }: PlatformOptions,
  ): Promise<BenchPlatform> {
    const { services, logDir, profileDir } = context;
    await using started = new AsyncDisposableStack();
    const { amqpUrl, databaseUrl } = started.use(await freshPlace(services));
    const platform = await Platform.create({
      amqpUrl,
      databaseUrl,
      env: (service) => ({
        LOG_LEVEL: 'warn',
        // Only with it can an edge say `stored`.
        ...(service === 'ingest-ws' && apis > 0 && { QUERY_API_URL: platform.services['query-api'][0]!.url }),
        ...env,
      }),
      logDir: join(logDir, name),
      nodeOptions: (instance) =>
        profileDir === undefined
          ? []
          : ['--cpu-prof', `--cpu-prof-dir=${join(profileDir, name)}`, `--cpu-prof-name=${instance}.cpuprofile`],
    });
    // In order, because a process writes its profile when it exits.
    started.defer(() => platform.stop());
    await platform.startAll({ 'query-api': apis });
    await platform.startAll({ 'ingest-ws': ingests, 'persistence-worker': workers });
    return new BenchPlatform(context, databaseUrl, platform, started.move());
  }

  get ingests(): readonly ServiceProcess[] {
    return this.#platform.services['ingest-ws'];
  }

  get workers(): readonly ServiceProcess[] {
    return this.#platform.services['persistence-worker'];
  }

  get apis(): readonly ServiceProcess[] {
    return this.#platform.services['query-api'];
  }

  /** Of the first query-api. */
  get apiUrl(): string {
    const [api] = this.#platform.services['query-api'];
    if (api === undefined) throw new Error('the study has started no query-api');
    return api.url;
  }

  /** One for each ingest instance. */
  get webSocketUrls(): string[] {
    return this.ingests.map(({ url }) => `${url.replace('http', 'ws')}/ws`);
  }

  tokenOf(deviceId: string): Promise<string> {
    return this.#platform.keys.token(deviceId, 'device');
  }

  roleToken(subject: string, role: Role): Promise<string> {
    return this.#platform.keys.token(subject, role);
  }

  /** Tokens of the workload's first devices, in their order. */
  tokens(devices: number): Promise<string[]> {
    return Promise.all(Array.from({ length: devices }, (_, index) => this.tokenOf(deviceIdOf(index))));
  }

  /** Measures the platform, its servers and the load from now on. */
  meter(loadPids: Readonly<Record<string, number>>): Promise<UsageMeter> {
    const named = (name: string, processes: readonly ServiceProcess[]) =>
      processes.map(({ pid }, index) => [index === 0 ? name : `${name} ${index + 1}`, pid] as const);
    const { services } = this.#platform;
    const pids = [
      ...named('ingest-ws', this.ingests),
      ...named('persistence-worker', this.workers),
      ...named('query-api', services['query-api']),
    ];
    return meterBesideServers(this.#context.services, { ...Object.fromEntries(pids), ...loadPids });
  }

  /** A counter of the workers, all together; see {@link ServiceProcess.metric}. */
  workerMetric(series: string): Promise<number> {
    return sumOf(this.workers, series);
  }

  ingestMetric(series: string): Promise<number> {
    return sumOf(this.ingests, series);
  }

  /** Readings whose transaction has committed, by the workers' count. */
  stored(): Promise<number> {
    return this.workerMetric('fleetwire_worker_readings_total{outcome="stored"}');
  }

  /** @returns epoch milliseconds of when the workers had committed as many rows */
  async untilStored(readings: number, timeoutMs = 120_000): Promise<number> {
    return eventually(
      async () => {
        const stored = await this.stored();
        if (stored < readings) throw new Error(`${stored} of ${readings} readings were stored within ${timeoutMs} ms`);
        return performance.timeOrigin + performance.now();
      },
      { timeoutMs, intervalMs: storedIntervalMs },
    );
  }

  /** Checks the workers' counters against the table: every row is there. */
  async assertRows(expected: number): Promise<void> {
    const { rows } = await this.#query<{ n: number }>('select count(*)::float8 as n from readings');
    if (rows[0]?.n !== expected) throw new Error(`${rows[0]?.n} rows are stored instead of ${expected}`);
  }

  /** Slower than {@link assertRows}: checks also that no identity is stored twice and nothing was dead-lettered. */
  async assertStoredOnce(expected: number): Promise<void> {
    await this.assertRows(expected);
    const { rows } = await this.#query<{ identities: number; dead: number }>(
      `select (select count(*) from (select distinct stream_key, seq from readings) as identity)::float8 as identities,
              (select count(*) from dead_letters)::float8 as dead`,
    );
    const { identities, dead } = rows[0]!;
    if (identities !== expected || dead > 0)
      throw new Error(`${identities} identities of ${expected} are stored, and ${dead} dead letters`);
  }

  async #query<Row extends object>(text: string): Promise<pg.QueryResult<Row>> {
    const client = new pg.Client({ connectionString: this.databaseUrl });
    await client.connect();
    try {
      return await client.query<Row>(text);
    } finally {
      await client.end();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Measures these processes and the servers from now on. */
export async function meterBesideServers(
  services: StudyContext['services'],
  pids: Readonly<Record<string, number>>,
): Promise<UsageMeter> {
  const servers = {
    rabbitmq: await serverBehind(services.amqpUrl),
    postgres: await serverBehind(services.databaseUrl),
  };
  return await startUsageMeter({ ...pids, ...servers }, await forwardersOf(services));
}

/** Processes by which a container engine forwards the ports of RabbitMQ and Postgres. */
export async function forwardersOf({ amqpUrl, databaseUrl }: StudyContext['services']): Promise<number[]> {
  const listeners = await Promise.all([amqpUrl, databaseUrl].map((url) => listenerOn(Number(new URL(url).port))));
  return listeners.filter((pid) => pid !== undefined);
}

async function sumOf(processes: readonly ServiceProcess[], series: string): Promise<number> {
  const values = await Promise.all(processes.map((each) => each.metric(series)));
  return values.reduce((sum, value) => sum + value, 0);
}
