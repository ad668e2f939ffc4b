import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

export const serviceNames = ['ingest-ws', 'persistence-worker', 'query-api'] as const;
export type ServiceName = (typeof serviceNames)[number];

export interface ServiceOptions {
  readonly service: ServiceName;
  /** Tells instances apart, in the log's name and in what is said. */
  readonly name: string;
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Told when the process ends and nobody asked for it; it is started again then. */
  readonly onCrash: (sentence: string) => void;
}

const aliveTimeoutMs = 30_000;
/** Above the drain deadline that the platform gives its services. */
const endTimeoutMs = 20_000;
const relaunchDelayMs = 1_000;
const probeTimeoutMs = 1_000;

/** A service as a process of its own, started as in production. It comes back at the same address. */
export class ServiceProcess {
  readonly url: string;
  readonly #options: ServiceOptions;
  #child: ChildProcess | undefined;
  /** Also while it is ending: one that was paused cannot end before it is resumed. */
  #latest: ChildProcess | undefined;
  #relaunch: NodeJS.Timeout | undefined;
  /** Counts launches, so that what one process counted is not taken for another's. */
  incarnation = 0;

  constructor(options: ServiceOptions) {
    this.url = `http://127.0.0.1:${options.port}`;
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get port(): number {
    return this.#options.port;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  launch(): void {
    if (this.#child !== undefined) return;
    const { service, env, port, logFile, onCrash } = this.#options;
    const program = fileURLToPath(new URL(`../../services/${service}/src/main.ts`, import.meta.url));
    const log = openSync(logFile, 'a');
    const child = spawn(process.execPath, [program], {
      env: { ...env, PORT: String(port) },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    this.#latest = child;
    this.incarnation += 1;
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      const lastWords = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1);
      onCrash(
        `${this.name} ended by itself (${signal ?? `exit code ${code}`}); its log, ${logFile}, ends: ${lastWords}`,
      );
      this.#relaunch = setTimeout(() => this.launch(), relaunchDelayMs);
    });
  }

  /** Resolves when the process is gone. One that does not go in time is killed. @throws if that was needed */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    clearTimeout(this.#relaunch);
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const exited = once(child, 'exit');
    child.kill(signal);
    const deadline = setTimeout(() => child.kill('SIGKILL'), endTimeoutMs);
    const [, killedBy] = (await exited) as [number | null, string | null];
    clearTimeout(deadline);
    if (signal === 'SIGTERM' && killedBy === 'SIGKILL')
      throw new Error(`${this.name} was still there ${endTimeoutMs} ms after SIGTERM`);
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#latest?.kill('SIGCONT');
  }

  /** Resolves when the process answers, ready or not. */
  untilAlive(): Promise<void> {
    return this.#until('/healthz', aliveTimeoutMs);
  }

  untilReady(timeoutMs: number): Promise<void> {
    return this.#until('/readyz', timeoutMs);
  }

  #until(path: string, timeoutMs: number): Promise<void> {
    let last = 'no answer';
    return eventually(
      async () => {
        const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(probeTimeoutMs) });
        last = await response.text();
        return response.ok;
      },
      { timeoutMs, describe: () => `${this.name} did not answer ${path} well (${last})` },
    );
  }
}
