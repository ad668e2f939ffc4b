import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NativeServer } from '../servers/native-server.ts';
import { type ServerProcess, startServer, untilReady } from '../servers/server-process.ts';
import { nginxConfiguration } from './configuration.ts';
import type { NginxProgram } from './program.ts';
import { answers } from './readiness.ts';
import type { Launchable, RunningNginx } from './start.ts';

const startDeadlineMs = 20_000;

/** Shares nothing with a system-wide nginx but the program: its configuration, folders, process id and port are its own. */
export async function startNativeNginx(
  { path, version }: NginxProgram,
  env: NodeJS.ProcessEnv,
  { directory, port, tls, supervision, configuration }: Launchable,
): Promise<RunningNginx> {
  const home = join(directory.path, 'nginx');
  // Answers of an earlier run are not kept: its tokens may be of other keys.
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const file = join(home, 'nginx.conf');
  // Its workers run as root where this process does, like the services and RabbitMQ: another user could not enter the data folder.
  const user = process.getuid?.() === 0 ? { user: 'root' } : {};

  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const logFile = join(directory.path, 'nginx.log');
  let last: ServerProcess | undefined;
  let instance: string;
  const server = await NativeServer.start(
    directory,
    {
      spawn: () => {
        endWorkersOf(last);
        instance = randomUUID();
        writeFileSync(file, nginxConfiguration({ ...configuration, ...user, instance }));
        const args = ['-p', `${home}/`, '-c', file, '-e', 'stderr'];
        last = startServer({
          name: 'nginx',
          command: path,
          args,
          env,
          cwd: home,
          logFile,
          disposable: directory.temporary,
        });
        return last;
      },
      ready: (process) => untilReady(process, logFile, startDeadlineMs, () => answers(url, instance)),
      logFile,
    },
    supervision,
  );
  return {
    url,
    version,
    failed: server.failed,
    stop: async () => {
      await server.stop();
      endWorkersOf(last);
    },
  };
}

/** Workers whose master was killed go on and hold the port. They are in its process group, which it leads. */
function endWorkersOf(master: ServerProcess | undefined): void {
  if (master === undefined) return;
  try {
    process.kill(-master.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
