import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { freePorts } from '@fleetwire/platform/servers/free-ports';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect } from 'vitest';

export type ServiceName = 'ingest-ws' | 'persistence-worker' | 'query-api';

export type ServiceProcess = Awaited<ReturnType<typeof startService>>;

/** A service as a process of its own, as in production, that can be killed and started again at the same address. */
export async function startService(
  name: ServiceName,
  env: Record<string, string>,
  nodeOptions: readonly string[] = [],
) {
  const { port } = await freePorts(['port']);
  const url = `http://127.0.0.1:${port}`;
  const main = fileURLToPath(new URL(`../../services/${name}/src/main.ts`, import.meta.url));
  let child: ChildProcess;
  let output = '';

  const launch = (): void => {
    child = spawn(process.execPath, [...nodeOptions, main], {
      env: { PATH: process.env['PATH'], LOG_LEVEL: 'fatal', PORT: String(port), ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      // Without a LOG_LEVEL of its own it says only what it dies of.
      if (env['LOG_LEVEL'] === undefined) process.stdout.write(text);
    });
  };
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (isRunning()) {
      child.kill(signal);
      await once(child, 'exit');
    }
    return child.exitCode;
  };
  const untilReady = (): Promise<void> =>
    eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeoutMs: 30_000 });

  cleanUp(() => end('SIGKILL'));
  launch();
  return {
    url,
    get pid(): number {
      return child.pid ?? 0;
    },
    get isRunning(): boolean {
      return isRunning();
    },
    untilReady,
    /** Lines of its log, parsed; there are some only with a LOG_LEVEL that asks for them. */
    logged: () =>
      output
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    kill: () => end('SIGKILL'),
    /** Drains. @returns the exit code */
    terminate: () => end('SIGTERM'),
    /** Again, at the same address; it may take a moment to be ready. */
    launch,
    metric: async (series: string): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      const line = text.split('\n').find((each) => each.startsWith(`${series} `));
      return Number(line?.split(' ').at(-1) ?? 0);
    },
  };
}
