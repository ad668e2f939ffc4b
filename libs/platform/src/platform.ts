import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Keys, createKeys } from './keys.ts';
import { freePort } from './processes/free-ports.ts';
import { StartError } from './processes/program.ts';
import {
  type ServiceName,
  ServiceProcess,
  type ServiceProcessOptions,
  compileCache,
  serviceFile,
  serviceNames,
  shortNames,
} from './processes/service-process.ts';

type Shared = Pick<ServiceProcessOptions, 'ownSession' | 'restart' | 'onCrash'>;

export interface PlatformOptions extends Shared {
  /** The vhost and the database are this platform's own, and empty or of an earlier version. */
  readonly amqpUrl: string;
  readonly databaseUrl: string;
  /** The schema is current: nothing is to be migrated. */
  readonly isMigrated?: boolean;
  /** Configuration of each service; it may replace the servers' URLs, for instance by those of fault proxies. */
  readonly env?: (service: ServiceName) => NodeJS.ProcessEnv;
  /** Gets one log file for each instance. */
  readonly logDir: string;
  readonly nodeOptions?: (instance: string) => readonly string[];
}

/** Our services as processes on servers that already run: as many of each as are started, with keys of their own. */
export class Platform {
  readonly services: Readonly<Record<ServiceName, readonly ServiceProcess[]>>;
  readonly keys: Keys;
  readonly #options: PlatformOptions;
  readonly #services: Record<ServiceName, ServiceProcess[]> = {
    'ingest-ws': [],
    'persistence-worker': [],
    'query-api': [],
  };

  private constructor(options: PlatformOptions, keys: Keys) {
    this.#options = options;
    this.keys = keys;
    this.services = this.#services;
  }

  /** Migrates the database unless it is migrated; starts no service yet. */
  static async create(options: PlatformOptions): Promise<Platform> {
    mkdirSync(options.logDir, { recursive: true });
    if (options.isMigrated !== true) await migrateDatabase(options.databaseUrl);
    return new Platform(options, await createKeys());
  }

  /** Starts one more instance. Resolves when it is ready. */
  async start(
    service: ServiceName,
    { env = {}, nodeOptions = [] }: Partial<Pick<ServiceProcessOptions, 'env' | 'nodeOptions'>> = {},
  ): Promise<ServiceProcess> {
    const {
      amqpUrl,
      databaseUrl,
      isMigrated: _,
      env: envOf,
      logDir,
      nodeOptions: nodeOptionsOf,
      ...shared
    } = this.#options;
    const port = await freePort();
    // Named after the wait: of instances that start together, each counts those before it.
    const instances = this.#services[service];
    const name = `${service}-${instances.length + 1}`;
    const process = new ServiceProcess({
      service,
      name,
      port,
      env: {
        ...inherited(),
        INSTANCE_NAME: `${shortNames[service]}-${instances.length + 1}`,
        AMQP_URL: amqpUrl,
        DATABASE_URL: databaseUrl,
        AUTH_JWKS: JSON.stringify(this.keys.publicJwks),
        ...envOf?.(service),
        ...env,
      },
      logFile: join(logDir, `${name}.log`),
      nodeOptions: [...(nodeOptionsOf?.(name) ?? []), ...nodeOptions],
      ...shared,
    });
    instances.push(process);
    process.start();
    await process.untilReady();
    return process;
  }

  /** Starts the given number of instances of each. */
  async startAll(instances: Readonly<Partial<Record<ServiceName, number>>>): Promise<void> {
    const each = serviceNames.flatMap((service) => Array.from({ length: instances[service] ?? 0 }, () => service));
    await Promise.all(each.map((service) => this.start(service)));
  }

  async untilReady(timeoutMs: number): Promise<void> {
    await Promise.all(this.#all().map((process) => process.untilReady({ timeoutMs })));
  }

  /** In the order of the drain: what was accepted is stored before the workers stop. */
  async stop(): Promise<void> {
    for (const service of serviceNames) await Promise.all(this.#services[service].map((process) => process.stop()));
  }

  async kill(): Promise<void> {
    await Promise.all(this.#all().map((process) => process.kill()));
  }

  #all(): ServiceProcess[] {
    return serviceNames.flatMap((service) => this.#services[service]);
  }
}

/**
 * Brings the schema up to date with the worker's own program, as an installation does. (The store's tests use this package, so it cannot
 * import the store.)
 * @throws StartError with what the program printed
 */
export async function migrateDatabase(databaseUrl: string, environment = inherited()): Promise<void> {
  const env = { ...environment, DATABASE_URL: databaseUrl };
  try {
    await promisify(execFile)(process.execPath, [serviceFile('persistence-worker', 'migrate-main.ts')], { env });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new StartError(`the database schema could not be brought up to date:\n${stdout}${stderr}`.trimEnd());
  }
}

/** All that a service takes from the environment of this process; its configuration is given. */
function inherited(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], ...compileCache() };
}
