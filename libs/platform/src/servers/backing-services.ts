import { rmSync } from 'node:fs';
import {
  containersObstacle,
  removeLeftContainers,
  startPostgresContainer,
  startRabbitmqContainer,
} from './containers.ts';
import { type DataDirectory, type Kind, openDataDirectory } from './data-directory.ts';
import { brokerVersion } from './management.ts';
import type { Supervision } from './native-server.ts';
import { startNativePostgres } from './native-postgres.ts';
import { startNativeRabbitmq } from './native-rabbitmq.ts';
import type { RunningBroker, RunningServer } from './running-server.ts';
import type { BrokerControl, ServerControl } from './running-server.ts';
import { StartError } from '../processes/program.ts';

export type BackingMode = 'auto' | Kind;

export interface BackingServicesOptions {
  /** `auto`: the servers in AMQP_URL and DATABASE_URL, else containers where an engine and the images are available, else native. */
  mode: BackingMode;
  /** Holds the data (or the names of the volumes that do), passwords, logs and process ids. One run at a time; one that is open stays open. */
  dataDir: string | DataDirectory;
  /** `stop` removes the folder and the volumes. */
  temporary?: boolean;
  /** Of native servers; those in containers and those given by URLs are not watched. */
  supervision?: Supervision;
  log: (line: string) => void;
  env?: NodeJS.ProcessEnv;
}

export interface BackingServices extends AsyncDisposable {
  readonly kind: Record<'rabbitmq' | 'postgres', Kind | 'given'>;
  /** Each URL has a user with all permissions: it may create vhosts and databases. */
  readonly amqpUrl: string;
  readonly managementUrl: string;
  readonly databaseUrl: string;
  /** Breaks the servers on purpose and starts them again; undefined for a server that was given by its URL. */
  readonly control: { readonly rabbitmq: BrokerControl | undefined; readonly postgres: ServerControl | undefined };
  /** Resolves with a sentence when a native server has exited unexpectedly and is not started again. */
  readonly failed: Promise<string>;
  describe(): { what: string; version: string; url: string; data: string }[];
  stop(): Promise<void>;
}

type ServiceName = keyof BackingServices['kind'];

/**
 * A real RabbitMQ and a real Postgres: given by URLs, in containers, or native processes.
 * @throws StartError with a sentence on what is missing
 */
export async function startBackingServices(options: BackingServicesOptions): Promise<BackingServices> {
  const { mode, dataDir, temporary = false, log, env = process.env } = options;
  const folder = typeof dataDir === 'string' ? dataDir : dataDir.path;
  const given = mode === 'auto' ? givenServices(env) : {};
  const missing = (['rabbitmq', 'postgres'] as const).filter((name) => !given[name]);

  await using acquired = new AsyncDisposableStack();
  if (temporary) acquired.defer(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  const start = missing.length === 0 ? undefined : await prepare(missing, options, acquired, env);

  const keep = async <Service extends RunningServer>(service: Promise<Service>): Promise<Service> => {
    const running = await service;
    acquired.defer(() => running.stop());
    return running;
  };
  // Both settle before a failure is reported, so that the one that did start is stopped.
  const [rabbitmq, postgres] = await Promise.allSettled([
    keep(given.rabbitmq ?? start!.rabbitmq()),
    keep(given.postgres ?? start!.postgres()),
  ]);
  if (rabbitmq.status === 'rejected') throw rabbitmq.reason;
  if (postgres.status === 'rejected') throw postgres.reason;

  const stack = acquired.move();
  const stop = () => stack.disposeAsync();
  const failed = new Promise<string>((resolve) => {
    for (const { failed } of [rabbitmq.value, postgres.value]) void failed?.then(resolve);
  });
  const kindOf = (name: ServiceName) => (given[name] ? 'given' : start!.kinds[name]!);
  log(`RabbitMQ ${rabbitmq.value.version} and Postgres ${postgres.value.version} are ready`);
  return {
    kind: { rabbitmq: kindOf('rabbitmq'), postgres: kindOf('postgres') },
    get amqpUrl() {
      return rabbitmq.value.url;
    },
    get managementUrl() {
      return rabbitmq.value.managementUrl;
    },
    get databaseUrl() {
      return postgres.value.url;
    },
    control: { rabbitmq: rabbitmq.value.control, postgres: postgres.value.control },
    failed,
    describe: () => [
      { what: 'RabbitMQ', version: rabbitmq.value.version, url: rabbitmq.value.url, data: rabbitmq.value.data },
      { what: 'Postgres', version: postgres.value.version, url: postgres.value.url, data: postgres.value.data },
    ],
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function prepare(
  missing: ServiceName[],
  options: BackingServicesOptions,
  acquired: AsyncDisposableStack,
  env: NodeJS.ProcessEnv,
) {
  const { dataDir, log, supervision } = options;
  const directory = typeof dataDir === 'string' ? await opened(dataDir) : dataDir;
  const kinds = await chooseKinds(missing, options.mode, directory, env, log);
  if (Object.values(kinds).includes('containers')) await removeLeftContainers(directory);
  return {
    kinds,
    rabbitmq: () =>
      kinds.rabbitmq === 'containers'
        ? startRabbitmqContainer(directory)
        : startNativeRabbitmq(directory, env, log, supervision),
    postgres: () =>
      kinds.postgres === 'containers'
        ? startPostgresContainer(directory)
        : startNativePostgres(directory, env, log, supervision),
  };

  async function opened(folder: string): Promise<DataDirectory> {
    const taken = await openDataDirectory(folder, options.temporary ?? false, log);
    acquired.defer(() => taken.release());
    return taken;
  }
}

async function chooseKinds(
  missing: ServiceName[],
  mode: BackingMode,
  directory: DataDirectory,
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
) {
  const before = directory.remembered.kinds;
  const choose = async (name: ServiceName): Promise<Kind> => {
    // Existing data decides: without this rule, it would seem lost as soon as a container engine is installed.
    const wanted = mode === 'auto' ? before[name] : mode;
    if (wanted === 'native') return 'native';
    const obstacle = await containersObstacle([name], env, log);
    if (!obstacle) return 'containers';
    if (wanted === undefined) return 'native';
    const why =
      mode === 'auto' ? `${name}'s data of ${directory.path} is in a container's volume` : 'containers were asked for';
    throw new StartError(`${obstacle[0]!.toUpperCase()}${obstacle.slice(1)}, but ${why}.`);
  };
  const kinds: Partial<Record<ServiceName, Kind>> = {};
  for (const name of missing) kinds[name] = await choose(name);
  directory.remember({ kinds: { ...before, ...kinds } });
  return kinds;
}

function givenServices(env: NodeJS.ProcessEnv): {
  rabbitmq?: Promise<RunningBroker>;
  postgres?: Promise<RunningServer>;
} {
  const elsewhere = { data: 'where its server keeps it', stop: async () => {} };
  const amqpUrl = env['AMQP_URL'];
  const databaseUrl = env['DATABASE_URL'];
  return {
    ...(amqpUrl && { rabbitmq: givenBroker(amqpUrl, env['MANAGEMENT_URL'] ?? managementBeside(amqpUrl)) }),
    ...(databaseUrl && { postgres: Promise.resolve({ ...elsewhere, url: databaseUrl, version: 'as given' }) }),
  };
  async function givenBroker(url: string, managementUrl: string): Promise<RunningBroker> {
    return { ...elsewhere, url, managementUrl, version: (await brokerVersion(managementUrl)) ?? 'as given' };
  }
}

/** The management API at its default port, for the same host and user. */
function managementBeside(amqpUrl: string): string {
  const { username, password, hostname } = new URL(amqpUrl);
  return `http://${username || 'guest'}:${password || 'guest'}@${hostname}:15672`;
}
