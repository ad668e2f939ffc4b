import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '@fleetwire/platform/processes/free-ports';
import { startProgram } from '@fleetwire/platform/processes/program';
import { eventually } from '@fleetwire/platform/testing/eventually';

const readyTimeoutMs = 30_000;
const stopDeadlineMs = 30_000;

/** The two processes of each pipeline: one stores readings, the other receives them from the sockets. */
const processes = {
  nest: { storing: 'nest-storer', taking: 'nest-gateway' },
  rest: { storing: 'rest-api', taking: 'rest-gateway' },
} as const;

export type PeerName = keyof typeof processes;

export type PeerProcesses = AsyncDisposable & {
  readonly webSocketUrl: string;
  readonly pids: Readonly<Record<string, number>>;
};

const peers = new URL('peers/', import.meta.url).pathname;
const binaries = new URL('../../node_modules/.bin/', import.meta.url).pathname;

/** Node cannot strip their decorators. */
export function compilePeers(): void {
  if (!existsSync(join(peers, 'node_modules')))
    throw new Error('the other pipelines are not installed; "npm run bench:peers" installs them');
  const { status } = spawnSync(join(binaries, 'tsc'), ['--project', peers], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the other pipelines did not compile');
}

export async function startPeerProcesses(
  peer: PeerName,
  options: { readonly amqpUrl: string; readonly databaseUrl: string; readonly logDir: string },
): Promise<PeerProcesses> {
  const { storing, taking } = processes[peer];
  const ports = await freePorts([storing, taking]);
  const env = {
    NODE_ENV: 'production',
    AMQP_URL: options.amqpUrl,
    DATABASE_URL: options.databaseUrl,
    API_URL: `http://127.0.0.1:${ports[storing]}`,
  };
  mkdirSync(options.logDir, { recursive: true });
  await using started = new AsyncDisposableStack();
  const start = async (name: string, port: number): Promise<number> => {
    const logFile = join(options.logDir, `${name}.log`);
    writeFileSync(logFile, '');
    const program = startProgram({
      name,
      command: process.execPath,
      args: [join(peers, 'dist', `${name}-main.js`)],
      env: { ...env, PORT: String(port) },
      logFile,
      killAtExit: true,
    });
    started.defer(async () => void (await program.stop(['SIGTERM', 'SIGKILL'], stopDeadlineMs)));
    const exited = new AbortController();
    void program.exited.then(() => exited.abort(new Error(`${name} exited; see ${logFile}`)));
    await eventually(
      () => {
        if (!/^ready$/m.test(readFileSync(logFile, 'utf8'))) throw new Error(`${name} is not ready; see ${logFile}`);
      },
      { timeoutMs: readyTimeoutMs, signal: exited.signal },
    );
    return program.pid;
  };
  const pids = { [storing]: await start(storing, ports[storing]), [taking]: await start(taking, ports[taking]) };
  const stack = started.move();
  return {
    webSocketUrl: `ws://127.0.0.1:${ports[taking]}/ws`,
    pids,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
