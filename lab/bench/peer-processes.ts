import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '@fleetwire/platform/servers/free-ports';
import { stopProcess } from './service-processes.ts';

/** Of each pipeline: the one that stores, and the one that takes what the sockets send. */
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

/** Decorators are more than Node strips. */
export function compilePeers(): void {
  if (!existsSync(join(peers, 'node_modules')))
    throw new Error('the other pipelines are not installed: "npm run bench:peers" does that');
  const { status } = spawnSync(join(binaries, 'tsc'), ['--project', peers], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the other pipelines do not compile');
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
  await mkdir(options.logDir, { recursive: true });
  await using started = new AsyncDisposableStack();
  const start = async (name: string, port: number): Promise<number> => {
    const log = await open(join(options.logDir, `${name}.log`), 'a');
    started.defer(() => log.close());
    const child = fork(join(peers, 'dist', `${name}-main.js`), {
      env: { ...env, PORT: String(port) },
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
    });
    started.defer(() => stopProcess(child, 'SIGTERM'));
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`${name} has ended; see its log`)));
    await Promise.race([once(child, 'message'), ended]);
    return child.pid!;
  };
  const pids = { [storing]: await start(storing, ports[storing]), [taking]: await start(taking, ports[taking]) };
  const stack = started.move();
  return {
    webSocketUrl: `ws://127.0.0.1:${ports[taking]}/ws`,
    pids,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
