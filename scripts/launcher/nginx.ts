import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningNginx, type StartNginx, chooseNginx, nginxSettings } from '@fleetwire/platform/nginx/start';
import { restartWithBackoff } from '@fleetwire/platform/processes/restart-policy';
import type { ServiceName } from '@fleetwire/platform/processes/service-process';
import type { DataDirectory } from '@fleetwire/platform/servers/data-directory';
import { choosePorts, isFree } from './listen-ports.ts';
import { terminal } from './terminal.ts';

const usualPort = 8000;
const portTriesMax = 5;

type Choice = Promise<StartNginx | Error>;

/** Resolves with an error where there is no nginx. */
export function chooseNginxInAdvance(options: Parameters<typeof chooseNginx>[0]): Choice {
  return chooseNginx(options).catch((error: Error) => error);
}

interface InFrontOptions {
  readonly choice: Choice;
  readonly ports: Record<ServiceName, number>;
  readonly directory: DataDirectory;
  readonly logDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly interrupted: AbortSignal;
}

/** The services work without nginx too: where it cannot run, that is printed and nothing else happens. */
export async function startNginxInFront(options: InFrontOptions): Promise<RunningNginx | undefined> {
  const start = await options.choice;
  try {
    if (start instanceof Error) throw start;
    return await terminal.step('nginx', () => startOnFreePort(start, options));
  } catch (error) {
    options.interrupted.throwIfAborted();
    terminal.print(`start:   without nginx, the services have no common address: ${(error as Error).message}`);
    return undefined;
  }
}

/** Another program may take the port between its choice and its use. */
async function startOnFreePort(
  start: StartNginx,
  { ports, directory, logDir, env, interrupted }: InFrontOptions,
): Promise<RunningNginx> {
  const accessLog = join(logDir, 'nginx-access.log');
  writeFileSync(accessLog, '');
  const loopback = (service: ServiceName) => [`127.0.0.1:${ports[service]}`];
  for (let tries = 1; ; tries += 1) {
    interrupted.throwIfAborted();
    const { nginx: port } = await choosePorts({ nginx: usualPort });
    if (port !== usualPort) terminal.print(`start:   port ${usualPort} is taken; nginx listens on ${port}`);
    try {
      const nginx = await start({
        ...nginxSettings(env),
        directory,
        port,
        ingest: loopback('ingest-ws'),
        queryApi: loopback('query-api'),
        accessLog,
        supervision: { restart: restartWithBackoff, report: (line) => terminal.print(line) },
      });
      void nginx.failed?.then((how) => terminal.print(`${how}; the services still answer on their own ports`));
      return nginx;
    } catch (error) {
      if (tries === portTriesMax || (await isFree(port))) throw error;
    }
  }
}
