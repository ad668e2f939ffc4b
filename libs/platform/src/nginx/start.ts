import type { DataDirectory } from '../servers/data-directory.ts';
import type { BackingMode } from '../servers/backing-services.ts';
import type { Supervision } from '../servers/native-server.ts';
import { StartError } from '../processes/program.ts';
import { nginxContainer } from './container.ts';
import { type NginxOptions, type TlsFiles, listenLines, originLines, serverLines } from './configuration.ts';
import { startNativeNginx } from './native.ts';
import { findNginx, obtainNginx } from './program.ts';

export interface StartOptions extends Bounds {
  /** Gets nginx's files, its log and its process id. */
  readonly directory: DataDirectory;
  /** On loopback. */
  readonly port: number;
  /** `host:port` of each instance; one at least. */
  readonly ingest: readonly string[];
  readonly queryApi: readonly string[];
  readonly tls?: TlsFiles | undefined;
  readonly accessLog: string;
  /** Not of a container. */
  readonly supervision?: Supervision;
}

type Bounds = Pick<
  NginxOptions,
  'requestsPerSecondMax' | 'connectionsPerAddressMax' | 'shutdownTimeoutSeconds' | 'heartbeatIntervalMs' | 'origins'
>;

/** What the ways to run nginx need. */
export interface Launchable extends StartOptions {
  readonly configuration: Omit<NginxOptions, 'instance'>;
}

/** nginx in front of the services: their one address. */
export interface RunningNginx {
  readonly url: string;
  readonly version: string;
  /** Resolves with a sentence when it has exited and is not started again. */
  readonly failed?: Promise<string>;
  stop(): Promise<void>;
}

/** Starts nginx; rejects with the end of its log where it does not start. */
export type StartNginx = (options: StartOptions) => Promise<RunningNginx>;

/**
 * Where nginx comes from. `auto`: NGINX, the nginx of this system, Debian's package, a container.
 * @throws StartError where there is none
 */
export async function chooseNginx({
  mode,
  env,
  log,
}: {
  readonly mode: BackingMode;
  readonly env: NodeJS.ProcessEnv;
  readonly log: (line: string) => void;
}): Promise<StartNginx> {
  if (mode === 'containers') {
    const start = await nginxContainer(env, log);
    return (options) => start(launchable(options));
  }
  let program = await findNginx(env);
  try {
    program ??= await obtainNginx(log);
  } catch (error) {
    if (mode === 'native' || !(error instanceof StartError)) throw error;
    const start = await nginxContainer(env, log).catch(() => {
      throw error;
    });
    return (options) => start(launchable(options));
  }
  const found = program;
  return (options) => startNativeNginx(found, env, launchable(options));
}

function launchable(options: StartOptions): Launchable {
  const { port, ingest, queryApi, tls } = options;
  const configuration = {
    ...options,
    listen: listenLines(`127.0.0.1:${port}`, tls),
    ingest: serverLines(ingest),
    queryApi: serverLines(queryApi),
    // One machine's fleet; a second one only takes memory.
    workers: 1,
  };
  return { ...options, configuration };
}

/**
 * The settings of nginx that an operator may give.
 * @throws StartError that names the invalid one
 */
export function nginxSettings(env: NodeJS.ProcessEnv): Bounds & { readonly tls: TlsFiles | undefined } {
  const whole = (name: string): number | undefined => {
    const text = env[name];
    if (text === undefined || text === '') return undefined;
    if (!/^[1-9]\d{0,8}$/.test(text)) throw new StartError(`${name} is ${text}; it must be a whole number from 1.`);
    return Number(text);
  };
  const bounds = {
    requestsPerSecondMax: whole('NGINX_REQUESTS_PER_SECOND_MAX'),
    connectionsPerAddressMax: whole('NGINX_CONNECTIONS_PER_ADDRESS_MAX'),
    shutdownTimeoutSeconds: whole('NGINX_SHUTDOWN_TIMEOUT_SECONDS'),
    heartbeatIntervalMs: whole('HEARTBEAT_INTERVAL_MS'),
  };
  const given = Object.entries(bounds).filter(([, value]) => value !== undefined);
  const { TLS_CERTIFICATE_FILE: certificateFile = '', TLS_KEY_FILE: keyFile = '' } = env;
  if ((certificateFile === '') !== (keyFile === ''))
    throw new StartError('TLS needs both TLS_CERTIFICATE_FILE and TLS_KEY_FILE.');
  const origins = originLines(env['ALLOWED_ORIGINS'] ?? '');
  return {
    ...Object.fromEntries(given),
    origins,
    tls: certificateFile === '' ? undefined : { certificateFile, keyFile },
  };
}
