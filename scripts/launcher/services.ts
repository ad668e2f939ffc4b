import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartError, lastLines } from '@fleetwire/platform/processes/program';
import { restartWithBackoff } from '@fleetwire/platform/processes/restart-policy';
import {
  type ProcessRecord,
  type ServiceName,
  ServiceProcess,
  shortNames,
} from '@fleetwire/platform/processes/service-process';
import type { BackingServices } from '@fleetwire/platform/servers/backing-services';
import type { KeyFiles } from './keys.ts';
import { choosePorts, isFree } from './listen-ports.ts';
import { terminal } from './terminal.ts';

type Ports = Record<ServiceName, number>;

const usualPorts: Ports = { 'ingest-ws': 8080, 'query-api': 8081, 'persistence-worker': 8082 };
const startOrder: readonly ServiceName[] = ['query-api', 'persistence-worker', 'ingest-ws'];
const loopback = '127.0.0.1';
const portTriesMax = 5;

interface ServiceSurroundings {
  backing: BackingServices;
  keys: KeyFiles | undefined;
  /** With it ingest-ws knows which devices are registered or suspended. Undefined without tokens. */
  registryToken: string | undefined;
  env: NodeJS.ProcessEnv;
}

interface ServicesOptions extends ServiceSurroundings {
  logDir: string;
  record: ProcessRecord;
  /** The next change of its sources starts a crashed service again. */
  watch: boolean;
  onGivenUp: (sentence: string) => void;
  interrupted: AbortSignal;
  forced: AbortSignal;
}

/** Another program may take a port between its choice and its use: then the services are started again, on ports that are free now. */
export async function startServices({ interrupted, ...options }: ServicesOptions) {
  for (let tries = 1; ; tries += 1) {
    const ports = await choosePorts(usualPorts);
    reportMovedPorts(ports);
    await using started = new AsyncDisposableStack();
    const services = new Map<ServiceName, ServiceProcess>();
    for (const name of startOrder) {
      interrupted.throwIfAborted();
      try {
        const service = await terminal.step(name, () =>
          startService(name, { ...options, port: ports[name], env: environmentOf(name, ports, options), interrupted }),
        );
        services.set(name, service);
        started.defer(() => terminal.step(`stopping ${name}`, async () => void (await service.stop(options.forced))));
      } catch (error) {
        if (tries === portTriesMax || !(error instanceof StartError) || (await isFree(ports[name]))) throw error;
        terminal.print(`start:   port ${ports[name]} has just been taken by another program; trying other ports`);
        break;
      }
    }
    if (services.size === startOrder.length) return { ports, services, stack: started.move() };
  }
}

interface ServiceOptions extends Pick<ServicesOptions, 'logDir' | 'record' | 'watch' | 'onGivenUp' | 'interrupted'> {
  port: number;
  env: NodeJS.ProcessEnv;
}

async function startService(
  name: ServiceName,
  { port, env, logDir, record, watch, onGivenUp, interrupted }: ServiceOptions,
): Promise<ServiceProcess> {
  const logFile = join(logDir, `${name}.log`);
  writeFileSync(logFile, '');
  const service = new ServiceProcess({
    service: name,
    port,
    env,
    logFile,
    ownSession: true,
    record,
    ...(!watch && { restart: restartWithBackoff }),
    onCrash({ description, restartInMs }) {
      terminal.print(`${description}; the end of ${logFile}:\n${lastLines(logFile)}`);
      if (restartInMs === undefined && !watch)
        onGivenUp(`${name} failed after ${restartWithBackoff.restartsMax} restarts; its log is ${logFile}`);
      if (restartInMs !== undefined) terminal.print(`Starting ${name} again in ${restartInMs} ms.`);
    },
  });
  service.start();
  try {
    await service.untilReady({ signal: interrupted });
  } catch (error) {
    await service.kill();
    throw error;
  }
  return service;
}

function environmentOf(
  name: ServiceName,
  ports: Ports,
  { backing, keys, registryToken, env }: ServiceSurroundings,
): NodeJS.ProcessEnv {
  // Only the query API mints tokens; ingest-ws needs no private keys.
  const keyFile = name === 'query-api' ? keys?.privateFile : keys?.publicFile;
  const { AUTH_JWKS: _, AUTH_JWKS_FILE: __, ...inherited } = env;
  return {
    // nginx is in front of them. The limits of requests that come without it count by the address of the peer.
    TRUST_PROXY_HOPS: '1',
    INSTANCE_NAME: `${shortNames[name]}-1`,
    ...inherited,
    HOST: loopback,
    AMQP_URL: backing.amqpUrl,
    MANAGEMENT_URL: backing.managementUrl,
    WORKER_URLS: `http://${loopback}:${ports['persistence-worker']}`,
    INGEST_URL: `http://${loopback}:${ports['ingest-ws']}`,
    QUERY_API_URL: `http://${loopback}:${ports['query-api']}`,
    ...(name === 'ingest-ws' &&
      registryToken !== undefined &&
      env['REGISTRY_TOKEN_FILE'] === undefined && { REGISTRY_TOKEN: env['REGISTRY_TOKEN'] ?? registryToken }),
    // ingest-ws does not use the database.
    ...(name !== 'ingest-ws' && { DATABASE_URL: backing.databaseUrl }),
    ...(keyFile === undefined ? { AUTH_MODE: 'open' } : { AUTH_MODE: 'jwt', AUTH_JWKS_FILE: keyFile }),
  };
}

function reportMovedPorts(ports: Ports) {
  for (const [name, usual] of Object.entries(usualPorts) as [ServiceName, number][]) {
    if (ports[name] !== usual) terminal.print(`start:   port ${usual} is taken; ${name} listens on ${ports[name]}`);
  }
}
