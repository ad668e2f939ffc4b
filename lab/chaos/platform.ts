import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackingServices, startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { type ManagementMethod, manage } from '@fleetwire/platform/servers/management';
import { freePorts } from '@fleetwire/platform/servers/free-ports';
import { type RabbitmqCluster, startRabbitmqCluster } from '@fleetwire/platform/servers/rabbitmq-cluster';
import type { BrokerControl, ServerControl } from '@fleetwire/platform/servers/server-control';
import { type Role, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { migrate } from '@fleetwire/store/migrate';
import { type FaultProxy, type ProxyTarget, startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { type Backing, type LinkName, linkNames } from './fault.ts';
import { type ServiceName, ServiceProcess } from './service-process.ts';
import { type SmallDisk, mountSmallDisk } from './small-disk.ts';

export type Platform = AsyncDisposable & {
  readonly backing: BackingServices;
  /** Of the only node, or of the first one. */
  readonly rabbitmq: BrokerControl;
  readonly cluster: RabbitmqCluster | undefined;
  readonly postgres: ServerControl;
  /** Where Postgres keeps its data, if that could be made a small disk. */
  readonly postgresDisk: SmallDisk | undefined;
  readonly services: Readonly<Record<ServiceName, readonly ServiceProcess[]>>;
  readonly links: Readonly<Record<LinkName, FaultProxy>>;
  /** Where devices connect: one of the ingest instances answers, as behind a load balancer. */
  readonly webSocketUrl: string;
  readonly logDir: string;
  readonly token: (subject: string, role: Role) => Promise<string>;
  /** One request to the broker's management API. */
  readonly manage: (method: ManagementMethod, path: string, body?: object) => Promise<unknown>;
  /** Every service answers that it is ready. */
  untilReady(timeoutMs: number): Promise<void>;
};

export interface PlatformOptions {
  readonly backing: Backing;
  readonly wantsSmallDisk: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly say: (line: string) => void;
  /** Told of services that end by themselves. */
  readonly onCrash: (sentence: string) => void;
}

const instances: Readonly<Record<ServiceName, number>> = { 'ingest-ws': 2, 'persistence-worker': 2, 'query-api': 1 };
const startTimeoutMs = 60_000;
const tokenExpiresInSeconds = 7 * 24 * 60 * 60;

/** Short enough for a fault of a few seconds to run into every deadline. */
const hastyConfiguration = {
  LOG_LEVEL: 'info',
  AMQP_HEARTBEAT_SECONDS: '2',
  CONFIRM_TIMEOUT_MS: '2500',
  STATEMENT_TIMEOUT_MS: '3000',
  HEARTBEAT_INTERVAL_MS: '1500',
  HOLD_CAP_MS: '1000',
  DRAIN_TIMEOUT_MS: '10000',
} as const;

/** The whole platform in a folder of its own: real servers, services as processes, and a fault proxy on every connection between them. */
export async function startPlatform({
  backing: mode,
  wantsSmallDisk,
  env,
  say,
  onCrash,
}: PlatformOptions): Promise<Platform> {
  await using acquired = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'fleetwire-chaos-'));
  const logDir = `${dataDir}-logs`;
  await mkdir(logDir);
  const postgresDisk = wantsSmallDisk ? await mountSmallDisk(join(dataDir, 'postgres'), `${dataDir}-disk`) : undefined;
  if (postgresDisk !== undefined) acquired.use(postgresDisk);
  const cluster = mode === 'cluster' ? acquired.use(await startRabbitmqCluster()) : undefined;
  const backing = acquired.use(
    await startBackingServices({
      dataDir,
      temporary: true,
      log: say,
      ...(cluster === undefined
        ? { mode: mode === 'cluster' ? 'containers' : mode, env }
        : { mode: 'auto', env: { ...env, AMQP_URL: cluster.amqpUrl, MANAGEMENT_URL: cluster.managementUrl } }),
    }),
  );
  const amqpUrl = () => new URL((cluster ?? backing).amqpUrl);
  const rabbitmq = cluster?.nodes[0]?.control ?? backing.control.rabbitmq;
  const { postgres } = backing.control;
  if (rabbitmq === undefined || postgres === undefined) throw new Error('chaos needs servers of its own');
  await migrate(backing.databaseUrl);

  const ports = await freePorts([
    'ingest-ws-1',
    'ingest-ws-2',
    'persistence-worker-1',
    'persistence-worker-2',
    'query-api-1',
  ]);
  const { privateJwks, publicJwks } = await generateKeySet();
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  const services: Record<ServiceName, ServiceProcess[]> = {
    'ingest-ws': [],
    'persistence-worker': [],
    'query-api': [],
  };

  const targets: Record<LinkName, () => URL> = {
    'device-ingest': balanced(services['ingest-ws']),
    'ingest-rabbitmq': amqpUrl,
    'worker-rabbitmq': amqpUrl,
    'worker-postgres': () => new URL(backing.databaseUrl),
    'query-postgres': () => new URL(backing.databaseUrl),
  };
  const links = {} as Record<LinkName, FaultProxy>;
  for (const link of linkNames) {
    const proxy = await startFaultProxy(() => addressOf(targets[link]()));
    acquired.defer(() => proxy.stop());
    links[link] = proxy;
  }
  const through = (link: LinkName) => {
    const url = targets[link]();
    url.host = `127.0.0.1:${links[link].port}`;
    return url.href;
  };
  const environments: Record<ServiceName, NodeJS.ProcessEnv> = {
    'ingest-ws': { AMQP_URL: through('ingest-rabbitmq') },
    'persistence-worker': { AMQP_URL: through('worker-rabbitmq'), DATABASE_URL: through('worker-postgres') },
    'query-api': { AMQP_URL: through('worker-rabbitmq'), DATABASE_URL: through('query-postgres') },
  };
  const crashed = Promise.withResolvers<never>();
  // Looked at only until everything has started.
  crashed.promise.catch(() => {});
  for (const service of Object.keys(instances) as ServiceName[]) {
    for (let number = 1; number <= instances[service]; number += 1) {
      const name = `${service}-${number}`;
      const instance = new ServiceProcess({
        service,
        name,
        port: ports[name as keyof typeof ports],
        env: {
          PATH: env['PATH'],
          AUTH_JWKS: JSON.stringify(publicJwks),
          ...hastyConfiguration,
          ...environments[service],
        },
        logFile: join(logDir, `${name}.log`),
        onCrash: (sentence) => {
          onCrash(sentence);
          crashed.reject(new Error(sentence));
        },
      });
      services[service].push(instance);
      acquired.defer(async () => {
        instance.resume();
        await instance.end('SIGKILL');
      });
      instance.launch();
    }
  }
  const untilReady = async (timeoutMs: number) => {
    await Promise.all(Object.values(services).flatMap((all) => all.map((one) => one.untilReady(timeoutMs))));
  };
  await Promise.race([untilReady(startTimeoutMs), crashed.promise]);

  const stack = acquired.move();
  return {
    backing,
    rabbitmq,
    cluster,
    postgres,
    postgresDisk,
    services,
    links,
    webSocketUrl: `ws://127.0.0.1:${links['device-ingest'].port}/ws`,
    logDir,
    token: async (subject, role) =>
      (await minter.mint({ subject, role, expiresInSeconds: tokenExpiresInSeconds })).token,
    manage: (method, path, body) => manage((cluster ?? backing).managementUrl, method, path, body),
    untilReady,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Each connection goes to the next instance that runs. */
function balanced(ingest: readonly ServiceProcess[]): () => URL {
  let turn = 0;
  return () => {
    const running = ingest.filter(({ isRunning }) => isRunning);
    turn += 1;
    return new URL((running[turn % running.length] ?? ingest[0])?.url ?? 'http://127.0.0.1:1');
  };
}

function addressOf({ hostname, port }: URL): ProxyTarget {
  return { host: hostname, port: Number(port) };
}
