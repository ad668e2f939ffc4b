import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Role, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import pg from 'pg';
import { type FreshPlace, freshPlace } from './fresh.ts';
import { listenerOn, serverBehind } from './process-usage.ts';
import { type ServiceProcess, metricOf, startServiceProcesses } from './service-processes.ts';
import type { StudyContext } from './study.ts';
import { type UsageMeter, startUsageMeter } from './usage-meter.ts';
import { deviceIdOf } from './workload.ts';

export interface PlatformOptions {
  /** Tells its logs and profiles from those of other platforms of the run. */
  readonly name: string;
  readonly ingests?: number;
  readonly workers?: number;
  /** Configuration of the services, beside what the bench must set. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The edge and the worker as processes, on a vhost and a database of their own in the bench's servers. */
export class BenchPlatform implements AsyncDisposable {
  readonly ingests: readonly ServiceProcess[];
  readonly workers: readonly ServiceProcess[];
  readonly databaseUrl: string;
  readonly #context: StudyContext;
  readonly #mint: (subject: string, role: Role) => Promise<string>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    context: StudyContext,
    place: FreshPlace,
    processes: { readonly ingests: readonly ServiceProcess[]; readonly workers: readonly ServiceProcess[] },
    mint: (subject: string, role: Role) => Promise<string>,
    stack: AsyncDisposableStack,
  ) {
    this.#context = context;
    this.databaseUrl = place.databaseUrl;
    this.ingests = processes.ingests;
    this.workers = processes.workers;
    this.#mint = mint;
    this.#stack = stack;
  }

  static async start(
    context: StudyContext,
    { name, ingests = 1, workers = 1, env = {} }: PlatformOptions,
  ): Promise<BenchPlatform> {
    await using started = new AsyncDisposableStack();
    const place = started.use(await freshPlace(context.services));
    const { privateJwks, publicJwks } = await generateKeySet();
    const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
    const mint = async (subject: string, role: Role) =>
      (await minter.mint({ subject, role, expiresInSeconds: 86_400 })).token;
    const processes = started.use(
      await startServiceProcesses({
        amqpUrl: place.amqpUrl,
        databaseUrl: place.databaseUrl,
        jwks: publicJwks,
        ingests,
        workers,
        env,
        logDir: join(context.logDir, name),
        profileDir: context.profileDir === undefined ? undefined : join(context.profileDir, name),
      }),
    );
    return new BenchPlatform(context, place, processes, mint, started.move());
  }

  /** One for each ingest instance. */
  get webSocketUrls(): string[] {
    return this.ingests.map(({ url }) => `${url.replace('http', 'ws')}/ws`);
  }

  tokenOf(deviceId: string): Promise<string> {
    return this.#mint(deviceId, 'device');
  }

  /** Tokens of the workload's first devices, in their order. */
  tokens(devices: number): Promise<string[]> {
    return Promise.all(Array.from({ length: devices }, (_, index) => this.tokenOf(deviceIdOf(index))));
  }

  /** Watches the platform, its servers and the load from now on. */
  meter(loadPids: Readonly<Record<string, number>>): Promise<UsageMeter> {
    const named = (name: string, processes: readonly ServiceProcess[]) =>
      processes.map(({ pid }, index) => [index === 0 ? name : `${name} ${index + 1}`, pid] as const);
    const pids = [...named('ingest-ws', this.ingests), ...named('persistence-worker', this.workers)];
    return meterBesideServers(this.#context.services, { ...Object.fromEntries(pids), ...loadPids });
  }

  /** A counter of the workers, all together; see {@link metricOf}. */
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
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      if ((await this.stored()) >= readings) return performance.timeOrigin + performance.now();
      await sleep(20);
    }
    throw new Error(`${readings} readings were not stored within ${timeoutMs} ms`);
  }

  /** The workers' word is checked: every row is there, and once. */
  async assertRows(expected: number): Promise<void> {
    const { rows } = await this.#query<{ n: number }>('select count(*)::float8 as n from readings');
    if (rows[0]?.n !== expected) throw new Error(`${rows[0]?.n} rows are stored instead of ${expected}`);
  }

  /** More than {@link assertRows}, and slower: no identity is stored twice, and nothing became a dead letter. */
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

/** Watches these processes and the servers from now on. */
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

/** Processes through which a container engine passes on what goes to RabbitMQ and Postgres. */
export async function forwardersOf({ amqpUrl, databaseUrl }: StudyContext['services']): Promise<number[]> {
  const listeners = await Promise.all([amqpUrl, databaseUrl].map((url) => listenerOn(Number(new URL(url).port))));
  return listeners.filter((pid) => pid !== undefined);
}

async function sumOf(processes: readonly ServiceProcess[], series: string): Promise<number> {
  const values = await Promise.all(processes.map(({ url }) => metricOf(url, series)));
  return values.reduce((sum, value) => sum + value, 0);
}
