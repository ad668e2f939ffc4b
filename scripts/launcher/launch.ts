import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { migrateDatabase } from '@fleetwire/platform/platform';
import { restartWithBackoff } from '@fleetwire/platform/processes/restart-policy';
import type { ServiceName } from '@fleetwire/platform/processes/service-process';
import type { RunningNginx } from '@fleetwire/platform/nginx/start';
import { type BackingServices, startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { type LauncherOptions, repositoryRoot } from './command.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { openKeys } from './keys.ts';
import { chooseNginxInAdvance, startNginxInFront } from './nginx.ts';
import { restartOnChange } from './restart-on-change.ts';
import { startServices } from './services.ts';
import { createSignInLink } from './sign-in-link.ts';
import { terminal } from './terminal.ts';

export interface LaunchOptions extends LauncherOptions {
  /** Inherited by everything that is started. */
  env: NodeJS.ProcessEnv;
}

export interface Running {
  /** The one address of the services; undefined without nginx. */
  readonly address: string | undefined;
  readonly ports: Record<ServiceName, number>;
  readonly backing: BackingServices;
  /** Undefined in open mode. */
  readonly tokens: { device: string; analyst: string; operator: string } | undefined;
  /** Signs a browser in once; undefined in open mode. */
  readonly signInLink: string | undefined;
  readonly fleet: Fleet | undefined;
  readonly dataDir: string;
  readonly logDir: string;
  /** Resolves with a sentence when something has exited that is not started again. */
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

/** The device that the printed token belongs to. */
export const exampleDevice = 'my-device';

/**
 * Starts everything in the order of its dependencies. When a step fails, what was started is stopped again.
 * @throws StartError with a sentence for the operator
 */
export async function launch(
  { data: dataDir, open, simulator, csv, backing: mode, watch, nginx: withNginx, env }: LaunchOptions,
  { interrupted, forced }: { interrupted: AbortSignal; forced: AbortSignal },
): Promise<Running> {
  const log = (line: string) => terminal.print(`start:   ${line}`);
  const directory = await openDataDirectory(dataDir, false, log);
  const logDir = join(dataDir, 'logs');
  mkdirSync(logDir, { recursive: true });

  // Released in reverse: 1. the watch of the sources 2. the fleet 3. ingest-ws 4. persistence-worker 5. query-api 6. nginx 7. RabbitMQ and Postgres.
  await using started = new AsyncDisposableStack();
  started.defer(() => directory.release());
  const backing = await terminal.step('RabbitMQ and Postgres', () =>
    startBackingServices({
      mode,
      dataDir: directory,
      env,
      log,
      supervision: { restart: restartWithBackoff, report: (line) => terminal.print(line) },
    }),
  );
  started.defer(() => terminal.step('stopping RabbitMQ and Postgres', () => backing.stop()));
  interrupted.throwIfAborted();

  // While the services start; it may have to be downloaded.
  const choice = withNginx ? chooseNginxInAdvance({ mode, env, log }) : undefined;
  const inFront: { nginx?: RunningNginx | undefined } = {};
  started.defer(async () => {
    const { nginx } = inFront;
    if (nginx) await terminal.step('stopping nginx', () => nginx.stop());
  });
  const keys = open ? undefined : await terminal.step('keys and tokens', () => openKeys(dataDir));
  await terminal.step('database schema', () => migrateDatabase(backing.databaseUrl, env));
  const failure = Promise.withResolvers<string>();
  void backing.failed.then(failure.resolve);
  const {
    ports,
    services,
    stack: runningServices,
  } = await startServices({
    backing,
    keys,
    registryToken: await keys?.token('ingest-ws', 'analyst'),
    env: { EXPORTS_DIR: join(dataDir, 'exports'), ...env },
    logDir,
    record: directory,
    watch,
    onGivenUp: failure.resolve,
    interrupted,
    forced,
  });
  started.use(runningServices);

  inFront.nginx = choice && (await startNginxInFront({ choice, ports, directory, logDir, env, interrupted }));
  const address = inFront.nginx?.url;
  let fleet: Fleet | undefined;
  if (simulator || csv) {
    const running = await terminal.step('fleet', async () =>
      startFleet({
        // The certificate for TLS may name another host.
        url: `ws://${address?.startsWith('http:') ? new URL(address).host : `127.0.0.1:${ports['ingest-ws']}`}/ws`,
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
  const door = address ?? `http://127.0.0.1:${ports['query-api']}`;
  const signInLink =
    keys &&
    (await createSignInLink({
      api: `http://127.0.0.1:${ports['query-api']}`,
      door,
      token: await keys.token('owner', 'admin'),
    }));
  const stack = started.move();
  return {
    address,
    ports,
    backing,
    tokens,
    signInLink,
    fleet,
    dataDir,
    logDir,
    failed: failure.promise,
    stop: () => stack.disposeAsync(),
  };
}
