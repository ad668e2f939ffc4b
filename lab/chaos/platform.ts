import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FaultProxy, type ProxyTarget, startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { Platform } from '@fleetwire/platform/platform';
import type { RestartPolicy } from '@fleetwire/platform/processes/restart-policy';
import type { ServiceName, ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { type BackingServices, startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { type ManagementMethod, manage } from '@fleetwire/platform/servers/management';
import { type RabbitmqCluster, startRabbitmqCluster } from '@fleetwire/platform/servers/rabbitmq-cluster';
import type { BrokerControl, ServerControl } from '@fleetwire/platform/servers/running-server';
import { type Backing, type LinkName, type StallName } from './fault.ts';
import { type SmallDisk, mountSmallDisk } from './small-disk.ts';

export interface ChaosPlatform extends AsyncDisposable {
  readonly backing: BackingServices;
  /** The only node, or the first one of the cluster. */
  readonly rabbitmq: BrokerControl;
  readonly cluster: RabbitmqCluster | undefined;
  readonly postgres: ServerControl;
  /** The disk with Postgres' data, where one of limited size could be mounted. */
  readonly postgresDisk: SmallDisk | undefined;
  readonly platform: Platform;
  readonly services: Platform['services'];
  readonly links: Readonly<Record<LinkName, FaultProxy>>;
  /** In front of the links, between the workers and Postgres (`commits`), and between ingest-ws and RabbitMQ (`confirms`). */
  readonly stalls: Readonly<Record<StallName, FaultProxy>>;
  /** Where devices connect: one of the ingest instances answers, as behind a load balancer. */
  readonly webSocketUrl: string;
  readonly logDir: string;
  /** One request to the broker's management API. */
  readonly manage: (method: ManagementMethod, path: string, body?: object) => Promise<unknown>;
}

export interface ChaosPlatformOptions {
  readonly backing: Backing;
  readonly wantsSmallDisk: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly say: (line: string) => void;
  /** Called with a sentence when a service exits unexpectedly; it is started again. */
  readonly onCrash: (sentence: string) => void;
}

const edges = 2;

/** A crash is a breach; the run goes on, to see what else there is. */
const restartAlways: RestartPolicy = {
  restartsMax: Infinity,
  steadyAfterMs: 0,
  backoff: { baseMs: 1_000, capMs: 1_000 },
};

/** Short enough for a fault of a few seconds to run into every deadline. */
const shortDeadlines = {
  LOG_LEVEL: 'info',
  AMQP_HEARTBEAT_SECONDS: '2',
  CONFIRM_TIMEOUT_MS: '2500',
  STATEMENT_TIMEOUT_MS: '3000',
  HEARTBEAT_INTERVAL_MS: '1500',
  HOLD_CAP_MS: '1000',
  DRAIN_TIMEOUT_MS: '10000',
  REPLAY_LEASE_MS: '1000',
  REPORT_INTERVAL_MS: '1000',
  INTEREST_REFRESH_MS: '1000',
  INTEREST_TTL_MS: '5000',
  // Subscribers fetch what they miss again and again.
  RATE_LIMIT_PER_MINUTE: '100000',
} as const;

/** The whole platform in a temporary folder: real servers, services as processes, and a fault proxy on every connection between them. */
export async function startChaosPlatform(options: ChaosPlatformOptions): Promise<ChaosPlatform> {
  await using acquired = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'fleetwire-chaos-'));
  const logDir = `${dataDir}-logs`;
  const { postgresDisk, cluster, backing } = await startServers(dataDir, options, acquired);
  const rabbitmq = cluster?.nodes[0]?.control ?? backing.control.rabbitmq;
  const { postgres } = backing.control;
  if (rabbitmq === undefined || postgres === undefined) throw new Error('chaos needs servers that it may break');

  const broker = () => new URL((cluster ?? backing).amqpUrl);
  const database = () => new URL(backing.databaseUrl);
  const links = await startProxies<LinkName>(
    {
      'device-ingest': () => nextRunning(platform.services['ingest-ws']),
      'ingest-rabbitmq': broker,
      'worker-rabbitmq': broker,
      'worker-postgres': database,
      'query-postgres': database,
    },
    acquired,
  );
  const at = (proxy: FaultProxy, target: URL) => {
    target.host = `127.0.0.1:${proxy.port}`;
    return target;
  };
  const stalls = await startProxies<StallName>(
    {
      commits: () => at(links['worker-postgres'], database()),
      confirms: () => at(links['ingest-rabbitmq'], broker()),
    },
    acquired,
  );
  const serverUrls: Record<ServiceName, NodeJS.ProcessEnv> = {
    'ingest-ws': { AMQP_URL: at(stalls.confirms, broker()).href },
    'persistence-worker': {
      AMQP_URL: at(links['worker-rabbitmq'], broker()).href,
      DATABASE_URL: at(stalls.commits, database()).href,
    },
    'query-api': {
      AMQP_URL: at(links['worker-rabbitmq'], broker()).href,
      DATABASE_URL: at(links['query-postgres'], database()).href,
    },
  };
  const platform = await Platform.create({
    amqpUrl: broker().href,
    databaseUrl: backing.databaseUrl,
    env: (service) => ({ ...shortDeadlines, ...serverUrls[service] }),
    logDir,
    ownSession: true,
    restart: restartAlways,
    onCrash: ({ description }) => options.onCrash(`${description}; its log is in ${logDir}`),
  });
  acquired.defer(() => platform.kill());
  // Together: a service that fails while another is awaited would end this process before its servers are stopped.
  const startEdges = async () => {
    const api = await platform.start('query-api');
    // They read the history of their subscribers from it.
    const env = { QUERY_API_URL: api.url };
    await Promise.all(Array.from({ length: edges }, () => platform.start('ingest-ws', { env })));
  };
  await Promise.all([platform.startAll({ 'persistence-worker': 2 }), startEdges()]);

  const stack = acquired.move();
  return {
    backing,
    rabbitmq,
    cluster,
    postgres,
    postgresDisk,
    platform,
    services: platform.services,
    links,
    stalls,
    webSocketUrl: `ws://127.0.0.1:${links['device-ingest'].port}/ws`,
    logDir,
    manage: (method, path, body) => manage((cluster ?? backing).managementUrl, method, path, body),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function startServers(
  dataDir: string,
  { backing: mode, wantsSmallDisk, env, say }: ChaosPlatformOptions,
  acquired: AsyncDisposableStack,
) {
  const postgresDisk = wantsSmallDisk ? await mountSmallDisk(join(dataDir, 'postgres'), `${dataDir}-disk`) : undefined;
  if (postgresDisk !== undefined) acquired.use(postgresDisk);
  const cluster = mode === 'cluster' ? acquired.use(await startRabbitmqCluster()) : undefined;
  const where =
    cluster === undefined
      ? { mode: mode === 'cluster' ? ('containers' as const) : mode, env }
      : { mode: 'auto' as const, env: { ...env, AMQP_URL: cluster.amqpUrl, MANAGEMENT_URL: cluster.managementUrl } };
  const backing = acquired.use(await startBackingServices({ dataDir, temporary: true, log: say, ...where }));
  return { postgresDisk, cluster, backing };
}

/** A fault proxy for each name; a target is looked up for every new connection. */
async function startProxies<Name extends string>(
  targets: Readonly<Record<Name, () => URL>>,
  acquired: AsyncDisposableStack,
): Promise<Record<Name, FaultProxy>> {
  const proxies = {} as Record<Name, FaultProxy>;
  for (const [name, target] of Object.entries(targets) as [Name, () => URL][]) {
    const proxy = await startFaultProxy((): ProxyTarget => {
      const { hostname, port } = target();
      return { host: hostname, port: Number(port) };
    });
    acquired.defer(() => proxy.stop());
    proxies[name] = proxy;
  }
  return proxies;
}

let turn = 0;

/** In turn, as a load balancer does. */
function nextRunning(ingest: readonly ServiceProcess[]): URL {
  const running = ingest.filter(({ isRunning }) => isRunning);
  turn += 1;
  return new URL((running[turn % running.length] ?? ingest[0])?.url ?? 'http://127.0.0.1:1');
}
