import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { DataDirectory } from './data-directory.ts';
import { installRabbitmqPackage } from './debian-package.ts';
import { freePorts } from '../processes/free-ports.ts';
import { brokerVersion } from './management.ts';
import { type Launch, NativeServer, type Supervision } from './native-server.ts';
import type { RunningBroker } from './running-server.ts';
import { asRabbitmqConf, rabbitmqArguments, rabbitmqSettings } from './settings.ts';
import { type ServerName, startServer, untilReady } from './server-process.ts';
import { StartError } from '../processes/program.ts';

const startDeadlineMs = 90_000;
const ctlTimeoutMs = 30_000;

/**
 * Runs a RabbitMQ node that shares nothing with a system-wide one: its own name, ports, port mapper (epmd), cookie, configuration,
 * log and data, all on loopback and in the data folder. Its name does not depend on the machine's, so its queues come back.
 */
export async function startNativeRabbitmq(
  directory: DataDirectory,
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
  supervision?: Supervision,
): Promise<RunningBroker> {
  const script = rabbitmqServerScript(env) ?? (await installRabbitmqPackage(log).then(() => rabbitmqServerScript(env)));
  if (!script) throw new StartError('RabbitMQ was installed, but rabbitmq-server was not found.');

  const home = join(directory.path, 'rabbitmq');
  mkdirSync(home, { recursive: true });
  const ports = await freePorts(['amqp', 'management', 'distribution', 'epmd'], directory.remembered.ports);
  directory.remember({ ports: { ...directory.remembered.ports, ...ports } });
  writeConfiguration(home, directory, ports);

  await using started = new AsyncDisposableStack();
  const nodeEnv = nodeEnvironment(env, home, ports);
  const start = async (name: ServerName, command: string, args: string[], isReady: () => Promise<boolean>) => {
    const logFile = join(directory.path, `${name}.log`);
    const launch: Launch = {
      spawn: () =>
        startServer({ name, command, args, env: nodeEnv, cwd: home, logFile, disposable: directory.temporary }),
      ready: (process) => untilReady(process, logFile, startDeadlineMs, isReady),
      logFile,
    };
    const server = await NativeServer.start(directory, launch, supervision);
    started.defer(() => server.stop());
    return server;
  };

  // In the foreground, as a child of this process: the epmd that Erlang starts by itself would be left running.
  const portMapper = await start(
    'epmd',
    'epmd',
    ['-address', '127.0.0.1', '-port', String(ports.epmd)],
    async () => true,
  );
  const { user, password } = directory.remembered;
  const managementUrl = `http://${user}:${password}@127.0.0.1:${ports.management}`;
  const node = await start(
    'rabbitmq',
    script,
    [],
    async () => (await accepts(ports.amqp)) && (await brokerVersion(managementUrl)) !== undefined,
  );

  const stack = started.move();
  return {
    url: `amqp://${user}:${password}@127.0.0.1:${ports.amqp}`,
    managementUrl,
    version: (await brokerVersion(managementUrl)) ?? 'unknown',
    data: home,
    // The node runs on without its port mapper, but cannot be started again without it.
    failed: supervision ? Promise.race([node.failed, portMapper.failed]) : node.failed,
    control: {
      end: (how) => node.end(how),
      start: () => node.start(),
      pause: () => node.pause(),
      resume: () => node.resume(),
      ctl: (args) => rabbitmqctl(script, args, nodeEnv, home),
    },
    stop: () => stack.disposeAsync(),
  };
}

async function rabbitmqctl(serverScript: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd: string) {
  const { stdout } = await promisify(execFile)(join(dirname(serverScript), 'rabbitmqctl'), [...args], {
    env,
    cwd,
    timeout: ctlTimeoutMs,
  });
  return stdout;
}

/** Debian's rabbitmq-server on the PATH is a wrapper that changes user and folder; the real script is in its library folder. */
function rabbitmqServerScript(env: NodeJS.ProcessEnv): string | undefined {
  const onPath = [...(env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/sbin']
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'rabbitmq-server'))
    .find((file) => existsSync(file));
  if (onPath === undefined) return undefined;
  const debianScript = '/usr/lib/rabbitmq/bin/rabbitmq-server';
  return /^(\/usr)?\/s?bin\//.test(onPath) && existsSync(debianScript) ? debianScript : onPath;
}

type Ports = Record<'amqp' | 'management' | 'distribution' | 'epmd', number>;

function writeConfiguration(home: string, directory: DataDirectory, ports: Ports) {
  const settings = {
    ...rabbitmqSettings,
    'listeners.tcp.1': `127.0.0.1:${ports.amqp}`,
    'management.tcp.ip': '127.0.0.1',
    'management.tcp.port': ports.management,
    default_user: directory.remembered.user,
    default_pass: directory.remembered.password,
    'log.console': 'true',
    'log.file': 'false',
  };
  writeFileSync(join(home, 'rabbitmq.conf'), asRabbitmqConf(settings), { mode: 0o600 });
  writeFileSync(join(home, 'enabled_plugins'), '[rabbitmq_management].\n');
  writeFileSync(join(home, 'rabbitmq-env.conf'), '');
  const cookie = join(home, '.erlang.cookie');
  rmSync(cookie, { force: true });
  writeFileSync(cookie, directory.remembered.erlangCookie);
  chmodSync(cookie, 0o400);
}

function nodeEnvironment(env: NodeJS.ProcessEnv, home: string, ports: Ports): NodeJS.ProcessEnv {
  const inherited = Object.entries(env).filter(([name]) => !/^(RABBITMQ_|ERL_|NOTIFY_SOCKET)/.test(name));
  return {
    ...Object.fromEntries(inherited),
    HOME: home,
    // Makes the start script exec the server instead of keeping a shell around it: one process to signal and to await.
    RUNNING_UNDER_SYSTEMD: 'true',
    RABBITMQ_NODENAME: 'fleetwire@localhost',
    RABBITMQ_DIST_PORT: String(ports.distribution),
    RABBITMQ_CONF_ENV_FILE: join(home, 'rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: join(home, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(home, 'advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(home, 'enabled_plugins'),
    RABBITMQ_GENERATED_CONFIG_DIR: join(home, 'generated'),
    RABBITMQ_MNESIA_BASE: join(home, 'mnesia'),
    RABBITMQ_LOG_BASE: join(home, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: join(home, 'node.pid'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} ${rabbitmqArguments}`,
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_CRASH_DUMP: join(home, 'erl_crash.dump'),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket
      .once('connect', () => resolve(true))
      .once('error', () => resolve(false))
      .once('connect', () => socket.destroy());
  });
}
