import { setTimeout as sleep } from 'node:timers/promises';
import type { DataDirectory } from './data-directory.ts';
import { processTree, signalAll, untilGone } from '../processes/process-tree.ts';
import { type RestartPolicy, nextRestart } from '../processes/restart-policy.ts';
import type { Ending, ServerControl } from './running-server.ts';
import type { ServerProcess } from './server-process.ts';

const endTimeoutMs = 30_000;

/** `ready` resolves when the server takes connections. */
export interface Launch {
  spawn(): ServerProcess;
  ready(server: ServerProcess): Promise<void>;
  readonly logFile: string;
}

/** What happens when a server exits unexpectedly. */
export interface Supervision {
  /** The server is started again on the same data and ports. */
  readonly restart: RestartPolicy;
  /** Gets a sentence for the operator about each exit, each failed start, and each return. */
  readonly report: (sentence: string) => void;
}

/** A server that runs as a child process and can be ended and started again. */
export class NativeServer implements ServerControl {
  /** Resolves with a sentence when the server has exited unexpectedly and is not started again. */
  readonly failed: Promise<string>;
  readonly #directory: DataDirectory;
  readonly #launch: Launch;
  readonly #supervision: Supervision | undefined;
  readonly #fail: (how: string) => void;
  #process: ServerProcess | undefined;
  #starting: ServerProcess | undefined;
  #isWanted = false;
  #paused: readonly number[] = [];
  #restarts = 0;
  #restart: { readonly done: Promise<void>; readonly cancellation: AbortController } | undefined;

  private constructor(directory: DataDirectory, launch: Launch, supervision: Supervision | undefined) {
    this.#directory = directory;
    this.#launch = launch;
    this.#supervision = supervision;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
  }

  /** @param supervision without it, an unexpected exit is final */
  static async start(directory: DataDirectory, launch: Launch, supervision?: Supervision): Promise<NativeServer> {
    const server = new NativeServer(directory, launch, supervision);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    this.#isWanted = true;
    await this.#startOnce();
  }

  async #startOnce(): Promise<void> {
    const launched = this.#launch.spawn();
    const startedAt = performance.now();
    this.#starting = launched;
    this.#directory.rememberProcess(launched);
    try {
      await this.#launch.ready(launched);
    } catch (error) {
      await launched.stop();
      this.#directory.forgetProcess(launched);
      throw error;
    } finally {
      this.#starting = undefined;
    }
    this.#process = launched;
    void launched.exited.then((how) => {
      if (this.#isWanted && this.#process === launched) this.#crashed(launched, how, performance.now() - startedAt);
    });
  }

  #crashed(crashed: ServerProcess, how: string, ranMs: number): void {
    this.#process = undefined;
    this.#directory.forgetProcess(crashed);
    if (this.#supervision === undefined) return this.#fail(how);
    const cancellation = new AbortController();
    this.#restart = { cancellation, done: this.#startAgain(this.#supervision, how, ranMs, cancellation.signal) };
  }

  async #startAgain({ restart, report }: Supervision, how: string, ranMs: number, signal: AbortSignal): Promise<void> {
    const exitedAt = performance.now();
    let problem = how;
    for (let next = nextRestart(restart, this.#restarts, ranMs); ; next = nextRestart(restart, this.#restarts, 0)) {
      if (next === undefined)
        return this.#fail(`${problem}, after ${restart.restartsMax} restarts; its log is ${this.#launch.logFile}`);
      this.#restarts = next.restart;
      report(`${problem}; starting it again in ${next.inMs} ms; its log is ${this.#launch.logFile}`);
      try {
        await sleep(next.inMs, undefined, { signal });
        await this.#startOnce();
        return report(`${this.#process?.name} is ready again after ${seconds(performance.now() - exitedAt)}`);
      } catch (error) {
        if (signal.aborted) return;
        problem = (error as Error).message.split('; the end of ')[0]!;
      }
    }
  }

  /** After this, an exit is expected. */
  async #cancelRestart(): Promise<void> {
    this.#isWanted = false;
    this.#restart?.cancellation.abort();
    await this.#starting?.stop();
    await this.#restart?.done;
  }

  async end(how: Ending): Promise<void> {
    await this.#cancelRestart();
    const ending = this.#process;
    if (ending === undefined) return;
    this.#process = undefined;
    const tree = processTree(ending.pid);
    const gone = untilGone(tree, endTimeoutMs);
    if (how === 'killed') {
      signalAll(tree, 'SIGKILL');
    } else {
      await this.resume();
      signalAll([ending.pid], endingSignals[ending.name][how]);
    }
    await gone;
    this.#paused = [];
    this.#directory.forgetProcess(ending);
  }

  /** The root first, so that it creates no new ones. */
  async pause(): Promise<void> {
    if (this.#process === undefined) return;
    signalAll([this.#process.pid], 'SIGSTOP');
    this.#paused = processTree(this.#process.pid);
    signalAll(this.#paused, 'SIGSTOP');
  }

  async resume(): Promise<void> {
    signalAll(this.#paused.toReversed(), 'SIGCONT');
    this.#paused = [];
  }

  /** Ends it for good; orderly where its data is kept. */
  async stop(): Promise<void> {
    await this.#cancelRestart();
    const last = this.#process;
    this.#process = undefined;
    await this.resume();
    if (last === undefined) return;
    await last.stop();
    this.#directory.forgetProcess(last);
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

const endingSignals = {
  epmd: { orderly: 'SIGTERM', immediate: 'SIGKILL' },
  rabbitmq: { orderly: 'SIGTERM', immediate: 'SIGKILL' },
  // Fast and immediate shutdown. SIGTERM would wait for every client to leave.
  postgres: { orderly: 'SIGINT', immediate: 'SIGQUIT' },
  nginx: { orderly: 'SIGQUIT', immediate: 'SIGTERM' },
} as const;
