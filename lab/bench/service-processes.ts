import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '@fleetwire/platform/servers/free-ports';
import { migrate } from '@fleetwire/store/migrate';

export interface ServiceProcess {
  readonly url: string;
  readonly pid: number;
  /** Kills it (SIGKILL) and starts it again at the same address at once. Resolves when it is ready. */
  crash(): Promise<void>;
}

export type ServiceProcesses = AsyncDisposable & {
  readonly ingests: readonly ServiceProcess[];
  readonly workers: readonly ServiceProcess[];
};

const readyTimeoutMs = 30_000;
const stopTimeoutMs = 30_000;
const services = new URL('../../services/', import.meta.url);

/** Edges and workers as processes of their own, started as in production, on a database that is migrated first. */
export async function startServiceProcesses(options: {
  amqpUrl: string;
  databaseUrl: string;
  jwks: object;
  ingests: number;
  workers: number;
  env: Readonly<Record<string, string>>;
  logDir: string;
  /** Each process leaves a CPU profile there when it ends. */
  profileDir: string | undefined;
}): Promise<ServiceProcesses> {
  const { amqpUrl, databaseUrl, jwks, logDir, profileDir } = options;
  await migrate(databaseUrl);
  await mkdir(logDir, { recursive: true });
  const names = (service: string, count: number) => Array.from({ length: count }, (_, at) => `${service}-${at + 1}`);
  const ingestNames = names('ingest-ws', options.ingests);
  const workerNames = names('persistence-worker', options.workers);
  const ports = await freePorts([...ingestNames, ...workerNames]);
  const common = {
    AMQP_URL: amqpUrl,
    DATABASE_URL: databaseUrl,
    AUTH_JWKS: JSON.stringify(jwks),
    LOG_LEVEL: 'warn',
    ...options.env,
  };
  await using started = new AsyncDisposableStack();
  const start =
    (service: string) =>
    async (name: string): Promise<ServiceProcess> => {
      const log = await open(join(logDir, `${name}.log`), 'a');
      const profiling =
        profileDir === undefined
          ? []
          : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${name}.cpuprofile`];
      const launch = () =>
        spawn(process.execPath, [...profiling, new URL(`${service}/src/main.ts`, services).pathname], {
          env: { ...common, PORT: String(ports[name]) },
          stdio: ['ignore', log.fd, log.fd],
        });
      let child = launch();
      const abandon = () => child.kill('SIGKILL');
      process.once('exit', abandon);
      started.defer(async () => {
        await stopProcess(child, 'SIGTERM');
        process.off('exit', abandon);
        await log.close();
      });
      const url = `http://127.0.0.1:${ports[name]}`;
      await ready(name, url, child);
      return {
        url,
        get pid() {
          return child.pid!;
        },
        crash: async () => {
          await stopProcess(child, 'SIGKILL');
          child = launch();
          await ready(name, url, child);
        },
      };
    };
  const ingests = await Promise.all(ingestNames.map(start('ingest-ws')));
  const workers = await Promise.all(workerNames.map(start('persistence-worker')));
  const stack = started.move();
  return { ingests, workers, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
async function ready(name: string, url: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${name} ended with exit code ${child.exitCode}; see its log`);
    const response = await fetch(`${url}/readyz`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return;
    await sleep(50);
  }
  throw new Error(`${name} was not ready within ${readyTimeoutMs} ms`);
}

export async function stopProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const deadline = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await exited;
  clearTimeout(deadline);
}

/** One value of a Prometheus page, such as `fleetwire_worker_readings_total{outcome="stored"}`. */
export async function metricOf(url: string, series: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}
