import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type BackingServices, startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { openChildRecord } from './child-record.ts';
import { type LauncherOptions, repositoryRoot } from './command.ts';
import { type Fleet, fleetOf, startFleet } from './fleet.ts';
import { type Keys, openKeys } from './keys.ts';
import { choosePorts } from './listen-ports.ts';
import { superviseService } from './supervised-service.ts';
import { terminal } from './terminal.ts';
import { Unlaunchable } from './unlaunchable.ts';

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
  /** Settles, with a sentence, when something has ended that is not started again. */
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

type ServiceName = 'ingest-ws' | 'query-api' | 'persistence-worker';

/** The device that the printed token belongs to. */
export const exampleDevice = 'my-device';

const usualPorts: Record<ServiceName, number> = { 'ingest-ws': 8080, 'query-api': 8081, 'persistence-worker': 8082 };
const loopback = '127.0.0.1';

/** Starts everything in the order in which it needs each other. What is started when a step fails is stopped again. */
export async function launch(
  { data: dataDir, open, simulator, csv, backing: mode, env }: LaunchOptions,
  { interrupted, forced }: { interrupted: AbortSignal; forced: AbortSignal },
): Promise<Running> {
  mkdirSync(dataDir, { recursive: true });
  const logDir = join(dataDir, 'logs');
  mkdirSync(logDir, { recursive: true });
  const record = await openChildRecord(dataDir);

  // Released in reverse: 1. the fleet 2. ingest-ws 3. persistence-worker 4. query-api 5. RabbitMQ and Postgres.
  await using started = new AsyncDisposableStack();
  started.defer(() => record.remove(process.pid));
  const backing = await terminal.step('RabbitMQ and Postgres', () =>
    startBackingServices({ mode, dataDir, env, log: (line) => terminal.print(`start:   ${line}`) }),
  );
  started.defer(() => terminal.step('stopping RabbitMQ and Postgres', () => backing.stop()));
  interrupted.throwIfAborted();

  const keys = open ? undefined : await terminal.step('keys and tokens', () => openKeys(dataDir));
  await terminal.step('database schema', () => migrate(backing.databaseUrl, env));
  const ports = await choosePorts(usualPorts);
  reportMovedPorts(ports);

  const failures: Promise<string>[] = [backing.failed];
  const order: ServiceName[] = ['query-api', 'persistence-worker', 'ingest-ws'];
  for (const name of order) {
    interrupted.throwIfAborted();
    const service = await terminal.step(name, () =>
      superviseService(
        {
          name,
          file: join(repositoryRoot, 'services', name, 'src/main.ts'),
          args: [],
          env: environmentOf(name, { ports, backing, keys, env }),
          logFile: join(logDir, `${name}.log`),
          readyUrl: `http://${loopback}:${ports[name]}/readyz`,
        },
        record,
        interrupted,
      ),
    );
    failures.push(service.failed);
    started.defer(() => terminal.step(`stopping ${name}`, () => service.stop(forced)));
  }

  let fleet: Fleet | undefined;
  if (simulator || csv) {
    const { args, description } = fleetOf(csv);
    const url = `ws://${loopback}:${ports['ingest-ws']}/ws`;
    const access = keys ? ['--keys', keys.privateFile] : [];
    const file = join(repositoryRoot, 'lab/fleet/main.ts');
    const spec = {
      name: 'simulator',
      file,
      args: ['--url', url, ...access, ...args],
      env,
      logFile: join(logDir, 'simulator.log'),
    };
    fleet = await terminal.step('fleet', () => startFleet(spec, description, record));
    const running = fleet;
    started.defer(() => terminal.step('stopping the fleet', () => running.stop(forced)));
  }

  const tokens = keys && {
    device: await keys.mint(exampleDevice, 'device'),
    analyst: await keys.mint('analyst', 'analyst'),
    operator: await keys.mint('operator', 'operator'),
  };
  const stack = started.move();
  return {
    ports,
    backing,
    tokens,
    fleet,
    dataDir,
    logDir,
    failed: Promise.race(failures),
    stop: () => stack.disposeAsync(),
  };
}

interface ServiceSurroundings {
  ports: Record<ServiceName, number>;
  backing: BackingServices;
  keys: Keys | undefined;
  env: NodeJS.ProcessEnv;
}

function environmentOf(name: ServiceName, { ports, backing, keys, env }: ServiceSurroundings): NodeJS.ProcessEnv {
  // Only the query API mints tokens; the edge has no need of private keys.
  const keyFile = name === 'query-api' ? keys?.privateFile : keys?.publicFile;
  const { AUTH_JWKS: _, AUTH_JWKS_FILE: __, ...inherited } = env;
  return {
    ...inherited,
    HOST: loopback,
    PORT: String(ports[name]),
    AMQP_URL: backing.amqpUrl,
    MANAGEMENT_URL: backing.managementUrl,
    WORKER_URLS: `http://${loopback}:${ports['persistence-worker']}`,
    // The edge knows no SQL.
    ...(name !== 'ingest-ws' && { DATABASE_URL: backing.databaseUrl }),
    ...(keyFile === undefined ? { AUTH_MODE: 'open' } : { AUTH_MODE: 'jwt', AUTH_JWKS_FILE: keyFile }),
  };
}

async function migrate(databaseUrl: string, env: NodeJS.ProcessEnv): Promise<void> {
  const file = join(repositoryRoot, 'services/persistence-worker/src/migrate-main.ts');
  const child = spawn(process.execPath, [file], {
    env: { ...env, DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  if (code !== 0)
    throw new Unlaunchable(`The database schema could not be brought up to date:\n${output}${errors}`.trimEnd());
}

function reportMovedPorts(ports: Record<ServiceName, number>) {
  for (const [name, usual] of Object.entries(usualPorts) as [ServiceName, number][]) {
    if (ports[name] !== usual) terminal.print(`start:   port ${usual} is taken; ${name} gets ${ports[name]}`);
  }
}
