import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '@fleetwire/backing-services/free-ports';
import { migrate } from '@fleetwire/store/migrate';

export type ServiceProcesses = AsyncDisposable & {
  readonly webSocketUrl: string;
  readonly ingest: { readonly url: string; readonly pid: number };
  readonly worker: { readonly url: string; readonly pid: number };
};

const readyTimeoutMs = 30_000;
const stopTimeoutMs = 30_000;
const services = new URL('../../../services/', import.meta.url);

/** The edge and the worker as processes of their own, started as in production, on a database that is migrated first. */
export async function startServiceProcesses(options: {
  amqpUrl: string;
  databaseUrl: string;
  jwks: object;
  logDir: string;
}): Promise<ServiceProcesses> {
  const { amqpUrl, databaseUrl, jwks, logDir } = options;
  await migrate(databaseUrl);
  await mkdir(logDir, { recursive: true });
  const ports = await freePorts(['ingest', 'worker']);
  const common = { AMQP_URL: amqpUrl, DATABASE_URL: databaseUrl, AUTH_JWKS: JSON.stringify(jwks), LOG_LEVEL: 'warn' };
  await using started = new AsyncDisposableStack();
  const start = async (name: string, port: number) => {
    const log = await open(join(logDir, `${name}.log`), 'a');
    const child = spawn(process.execPath, [new URL(`${name}/src/main.ts`, services).pathname], {
      env: { ...common, PORT: String(port) },
      stdio: ['ignore', log.fd, log.fd],
    });
    started.defer(async () => {
      await stop(child);
      await log.close();
    });
    const url = `http://127.0.0.1:${port}`;
    await ready(name, url, child);
    return { url, pid: child.pid! };
  };
  const ingest = await start('ingest-ws', ports.ingest);
  const worker = await start('persistence-worker', ports.worker);
  const stack = started.move();
  return {
    webSocketUrl: `ws://127.0.0.1:${ports.ingest}/ws`,
    ingest,
    worker,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
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

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
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
