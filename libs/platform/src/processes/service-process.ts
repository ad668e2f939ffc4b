import { fileURLToPath } from 'node:url';
import { eventually } from '../testing/eventually.ts';
import { listenersOn } from './listeners.ts';
import { type Exit, type Program, StartError, describeExit, lastLines, readTail, startProgram } from './program.ts';
import { type RestartPolicy, nextRestart } from './restart-policy.ts';

export const serviceNames = ['ingest-ws', 'persistence-worker', 'query-api'] as const;
export type ServiceName = (typeof serviceNames)[number];

/** What operators call an instance, before its number. */
export const shortNames: Readonly<Record<ServiceName, string>> = {
  'ingest-ws': 'ingest',
  'persistence-worker': 'worker',
  'query-api': 'query-api',
};

/** A process that exited though `stop` or `kill` was not called. */
interface Crash {
  /** `ingest-ws-1 exited unexpectedly (SIGKILL)` */
  readonly description: string;
  /** Undefined where it is not started again. */
  readonly restartInMs: number | undefined;
}

export interface ServiceProcessOptions {
  readonly service: ServiceName;
  /** Tells instances apart in messages; the service's name unless given. */
  readonly name?: string;
  /** On loopback; the same one after every start. */
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly nodeOptions?: readonly string[];
  readonly ownSession?: boolean;
  /** Applies once the process has been ready; without it a crashed process stays away. */
  readonly restart?: RestartPolicy;
  /** Called once the process has been ready; before that, `untilReady` rejects. */
  readonly onCrash?: (crash: Crash) => void;
  /** Lets a later run find and stop the process if this one is killed. */
  readonly record?: ProcessRecord;
}

export interface ProcessRecord {
  rememberProcess(process: { readonly name: string; readonly pid: number }): void;
  forgetProcess(process: { readonly pid: number }): void;
}

/** As in deploy/compose.yaml: V8 would reserve 64 MB for young objects in the first export, and keep them. */
const productionOptions: Partial<Record<ServiceName, readonly string[]>> = {
  'query-api': ['--max-semi-space-size=8'],
};
const readyTimeoutMs = 60_000;
const readyIntervalMs = 50;
const probeTimeoutMs = 2_000;
/** Above the services' own drain deadline, which is 25 s. */
const stopDeadlineMs = 30_000;
const logBytesReadMax = 8 * 1024 * 1024;

/**
 * One of our services as a process, started as in production. It keeps its address and its log over restarts, and is killed when this process
 * exits without having stopped it.
 */
export class ServiceProcess {
  readonly name: string;
  readonly url: string;
  readonly logFile: string;
  readonly #options: ServiceProcessOptions;
  #program: Program | undefined;
  #state: 'running' | 'stopping' | 'exited' = 'exited';
  #starts = 0;
  #wasReady = false;
  #restarts = 0;
  #restartTimer: NodeJS.Timeout | undefined;

  constructor(options: ServiceProcessOptions) {
    this.name = options.name ?? options.service;
    this.url = `http://127.0.0.1:${options.port}`;
    this.logFile = options.logFile;
    this.#options = options;
  }

  /** Running, and not asked to stop. */
  get isRunning(): boolean {
    return this.#state === 'running';
  }

  /** Distinguishes the counters of one process from those of the next at the same address. */
  get starts(): number {
    return this.#starts;
  }

  /** Of the latest process. */
  get pid(): number {
    if (this.#program === undefined) throw new Error(`${this.name} was never started`);
    return this.#program.pid;
  }

  /** Starts it unless it runs. See {@link untilReady}. */
  start(): void {
    if (this.#state === 'running') return;
    if (this.#state === 'stopping') throw new Error(`${this.name} is still stopping`);
    clearTimeout(this.#restartTimer);
    const { service, port, env, nodeOptions = [], logFile, ownSession = false, record } = this.#options;
    const program = startProgram({
      name: this.name,
      command: process.execPath,
      args: [...(productionOptions[service] ?? []), ...nodeOptions, serviceFile(service, 'main.ts')],
      env: { ...compileCache(), ...env, PORT: String(port) },
      logFile,
      ownSession,
      killAtExit: true,
    });
    record?.rememberProcess(program);
    const startedAt = performance.now();
    this.#program = program;
    this.#state = 'running';
    this.#starts += 1;
    void program.exited.then((exit) => {
      record?.forgetProcess(program);
      const wasAsked = this.#state === 'stopping';
      this.#state = 'exited';
      if (!wasAsked) this.#crashed(exit, performance.now() - startedAt);
    });
  }

  #crashed(exit: Exit, ranMs: number): void {
    if (!this.#wasReady) return;
    const { restart, onCrash } = this.#options;
    const next = restart && nextRestart(restart, this.#restarts, ranMs);
    if (next !== undefined) {
      this.#restarts = next.restart;
      this.#restartTimer = setTimeout(() => this.start(), next.inMs);
    }
    onCrash?.({ description: `${this.name} exited unexpectedly (${describeExit(exit)})`, restartInMs: next?.inMs });
  }

  /**
   * Lets it drain (SIGTERM); kills it at the deadline, or when `forced` aborts.
   * @returns how it exited: by the signal SIGKILL if it had to be killed
   */
  stop(forced?: AbortSignal): Promise<Exit> {
    return this.#end(['SIGTERM', 'SIGKILL'], forced);
  }

  /** SIGKILL. */
  kill(): Promise<Exit> {
    return this.#end(['SIGKILL']);
  }

  async #end(signals: readonly NodeJS.Signals[], forced?: AbortSignal): Promise<Exit> {
    clearTimeout(this.#restartTimer);
    if (this.#program === undefined) return { code: null, signal: null };
    if (this.#state === 'running') this.#state = 'stopping';
    return this.#state === 'exited' ? this.#program.exited : this.#program.stop(signals, stopDeadlineMs, forced);
  }

  /** Kills it and starts it again. Resolves when it is ready. */
  async crash(): Promise<void> {
    await this.kill();
    this.start();
    await this.untilReady();
  }

  /** Suspends it (SIGSTOP): its connections stay open and silent. */
  pause(): void {
    if (this.#state === 'running') this.#program?.kill('SIGSTOP');
  }

  /** Also a process that is being stopped: paused, it cannot drain. */
  resume(): void {
    this.#program?.kill('SIGCONT');
  }

  /** Resolves when it answers, ready or not. */
  untilAlive(): Promise<void> {
    return this.#until('/healthz', {});
  }

  /** @throws StartError with the end of its log, when it exits or the time is up; the signal's reason, when that aborts */
  async untilReady(options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.#until('/readyz', options);
    this.#wasReady = true;
  }

  async #until(
    path: string,
    { timeoutMs = readyTimeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<void> {
    const exited = new AbortController();
    void this.#program?.exited.then((exit) => exited.abort(`exited while it was starting (${describeExit(exit)})`));
    let last = 'no answer';
    try {
      await eventually(
        async () => {
          const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(probeTimeoutMs) });
          last = `${response.status} ${await response.text()}`;
          if (!response.ok) throw new Error(last);
          if (await this.#isPortTaken()) throw new Error((last = 'another process listens on its port'));
        },
        {
          timeoutMs,
          intervalMs: readyIntervalMs,
          signal: AbortSignal.any([exited.signal, ...(signal === undefined ? [] : [signal])]),
        },
      );
    } catch {
      signal?.throwIfAborted();
      const problem = exited.signal.aborted
        ? String(exited.signal.reason)
        : `did not become ready within ${timeoutMs} ms (${path}: ${last})`;
      throw new StartError(`${this.name} ${problem}; the end of ${this.logFile}:\n${lastLines(this.logFile)}`);
    }
  }

  /** Between the choice of a port and its use another process may have taken it, and answer instead of this one. */
  async #isPortTaken(): Promise<boolean> {
    if (process.platform !== 'linux') return false;
    return (await listenersOn(this.#options.port, [this.pid])).length === 0;
  }

  /** One value of its metrics, such as `fleetwire_worker_readings_total{outcome="stored"}`; 0 where the series is not there. */
  async metric(series: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  /** The end of its log, line by line; what LOG_LEVEL lets through. */
  logged(): Record<string, unknown>[] {
    return readTail(this.logFile, logBytesReadMax)
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

/** Node's cache of compiled code, where this process has one: the tests start a service hundreds of times. */
export function compileCache(): NodeJS.ProcessEnv {
  const folder = process.env['NODE_COMPILE_CACHE'];
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder };
}

/** A program of a service, by the name of its file. */
export function serviceFile(service: ServiceName, file: 'main.ts' | 'migrate-main.ts'): string {
  return fileURLToPath(new URL(`../../../../services/${service}/src/${file}`, import.meta.url));
}
