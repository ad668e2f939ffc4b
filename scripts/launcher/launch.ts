import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrateDatabase } from '@fleetwire/platform/platform';
import { lastLines } from '@fleetwire/platform/processes/program';
import { restartWithBackoff } from '@fleetwire/platform/processes/restart-policy';
import { type ServiceName, ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { type BackingServices, startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { type LauncherOptions, repositoryRoot } from './command.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type KeyFiles, openKeys } from './keys.ts';
import { choosePorts } from './listen-ports.ts';
import { restartOnChange } from './restart-on-change.ts';
import { terminal } from './terminal.ts';

export interface LaunchOptions extends LauncherOptions {
  /** Inherited by everything that is started. */
  env: NodeJS.ProcessEnv;
}

export interface Running {
  readonly ports: Record<ServiceName, number>;
  readonly backing: BackingServices;
  /** Undefined in open mode. */
  readonly tokens: { device: string; analyst: string; operator: string } | undefined;
  readonly fleet: Fleet | undefined;
  readonly dataDir: string;
  readonly logDir: string;
  /** Resolves with a sentence when something has exited that is not started again. */
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

/** The device that the printed token belongs to. */
export const exampleDevice = 'my-device';

const usualPorts: Record<ServiceName, number> = { 'ingest-ws': 8080, 'query-api': 8081, 'persistence-worker': 8082 };
const startOrder: readonly ServiceName[] = ['query-api', 'persistence-worker', 'ingest-ws'];
const loopback = '127.0.0.1';

/**
 * Starts everything in the order of its dependencies. When a step fails, what was started is stopped again.
 * @throws StartError with a sentence for the operator
 */
export async function launch(
  { data: dataDir, open, simulator, csv, backing: mode, watch, env }: LaunchOptions,
  { interrupted, forced }: { interrupted: AbortSignal; forced: AbortSignal },
): Promise<Running> {
  const log = (line: string) => terminal.print(`start:   ${line}`);
  const directory = await openDataDirectory(dataDir, false, log);
  const logDir = join(dataDir, 'logs');
  mkdirSync(logDir, { recursive: true });

  // Released in reverse: 1. the watch of the sources 2. the fleet 3. ingest-ws 4. persistence-worker 5. query-api 6. RabbitMQ and Postgres.
  await using started = new AsyncDisposableStack();
  started.defer(() => directory.release());
  const backing = await terminal.step('RabbitMQ and Postgres', () =>
    startBackingServices({ mode, dataDir: directory, env, log }),
  );
  started.defer(() => terminal.step('stopping RabbitMQ and Postgres', () => backing.stop()));
  interrupted.throwIfAborted();

  const keys = open ? undefined : await terminal.step('keys and tokens', () => openKeys(dataDir));
  await terminal.step('database schema', () => migrateDatabase(backing.databaseUrl, env));
  const ports = await choosePorts(usualPorts);
  reportMovedPorts(ports);

  const failure = Promise.withResolvers<string>();
  void backing.failed.then(failure.resolve);
  const services = new Map<ServiceName, ServiceProcess>();
  for (const name of startOrder) {
    interrupted.throwIfAborted();
    const logFile = join(logDir, `${name}.log`);
    writeFileSync(logFile, '');
    const service = new ServiceProcess({
      service: name,
      port: ports[name],
      env: environmentOf(name, { ports, backing, keys, env }),
      logFile,
      ownSession: true,
      record: directory,
      // Under watch, the next change starts it again.
      ...(!watch && { restart: restartWithBackoff }),
      onCrash({ description, restartInMs }) {
        if (watch) return terminal.print(`${description}; its log is ${logFile}`);
        if (restartInMs === undefined)
          return failure.resolve(
            `${description} after ${restartWithBackoff.restartsMax} restarts; its log is ${logFile}`,
          );
        terminal.print(`${description}; the end of ${logFile}:\n${lastLines(logFile)}`);
        terminal.print(`Starting ${name} again in ${restartInMs} ms.`);
      },
    });
    await terminal.step(name, async () => {
      service.start();
      try {
        await service.untilReady({ signal: interrupted });
      } catch (error) {
        await service.kill();
        throw error;
      }
    });
    started.defer(() => terminal.step(`stopping ${name}`, async () => void (await service.stop(forced))));
    services.set(name, service);
  }

  let fleet: Fleet | undefined;
  if (simulator || csv) {
    const running = await terminal.step('fleet', async () =>
      startFleet({
        url: `ws://${loopback}:${ports['ingest-ws']}/ws`,
        csv,
        keyFile: keys?.privateFile,
        env,
        logFile: join(logDir, 'simulator.log'),
        record: directory,
      }),
    );
    fleet = running;
    started.defer(() => terminal.step('stopping the fleet', () => running.stop(forced)));
  }

  if (watch) {
    started.use(restartOnChange({ root: repositoryRoot, services, forced, report: (line) => terminal.print(line) }));
    terminal.print('dev: watching the sources of libs and services');
  }

  const tokens = keys && {
    device: await keys.token(exampleDevice, 'device'),
    analyst: await keys.token('analyst', 'analyst'),
    operator: await keys.token('operator', 'operator'),
  };
  const stack = started.move();
  return { ports, backing, tokens, fleet, dataDir, logDir, failed: failure.promise, stop: () => stack.disposeAsync() };
}

interface ServiceSurroundings {
  ports: Record<ServiceName, number>;
  backing: BackingServices;
  keys: KeyFiles | undefined;
  env: NodeJS.ProcessEnv;
}

function environmentOf(name: ServiceName, { ports, backing, keys, env }: ServiceSurroundings): NodeJS.ProcessEnv {
  // Only the query API mints tokens; ingest-ws needs no private keys.
  const keyFile = name === 'query-api' ? keys?.privateFile : keys?.publicFile;
  const { AUTH_JWKS: _, AUTH_JWKS_FILE: __, ...inherited } = env;
  return {
    ...inherited,
    HOST: loopback,
    AMQP_URL: backing.amqpUrl,
    MANAGEMENT_URL: backing.managementUrl,
    WORKER_URLS: `http://${loopback}:${ports['persistence-worker']}`,
    // ingest-ws does not use the database.
    ...(name !== 'ingest-ws' && { DATABASE_URL: backing.databaseUrl }),
    ...(keyFile === undefined ? { AUTH_MODE: 'open' } : { AUTH_MODE: 'jwt', AUTH_JWKS_FILE: keyFile }),
  };
}

function reportMovedPorts(ports: Record<ServiceName, number>) {
  for (const [name, usual] of Object.entries(usualPorts) as [ServiceName, number][]) {
    if (ports[name] !== usual) terminal.print(`start:   port ${usual} is taken; ${name} listens on ${ports[name]}`);
  }
}
