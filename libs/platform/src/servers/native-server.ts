import type { DataDirectory } from './data-directory.ts';
import { processTree, signalAll, untilGone } from '../processes/process-tree.ts';
import type { Ending, ServerControl } from './running-server.ts';
import type { ServerProcess } from './server-process.ts';

const endTimeoutMs = 30_000;

/** `ready` resolves when the server takes connections. */
export interface Launch {
  spawn(): ServerProcess;
  ready(server: ServerProcess): Promise<void>;
}

/** A server that runs as a child process and can be ended and started again. */
export class NativeServer implements ServerControl {
  /** Resolves with a sentence when the server exits unexpectedly. */
  readonly failed: Promise<string>;
  readonly #directory: DataDirectory;
  readonly #launch: Launch;
  readonly #fail: (how: string) => void;
  #process: ServerProcess | undefined;
  #paused: readonly number[] = [];

  private constructor(directory: DataDirectory, launch: Launch) {
    this.#directory = directory;
    this.#launch = launch;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
  }

  static async start(directory: DataDirectory, launch: Launch): Promise<NativeServer> {
    const server = new NativeServer(directory, launch);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const launched = this.#launch.spawn();
    this.#directory.rememberProcess(launched);
    try {
      await this.#launch.ready(launched);
    } catch (error) {
      await launched.stop();
      this.#directory.forgetProcess(launched);
      throw error;
    }
    this.#process = launched;
    void launched.exited.then((how) => {
      if (this.#process === launched) this.#fail(how);
    });
  }

  async end(how: Ending): Promise<void> {
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
    const last = this.#process;
    this.#process = undefined;
    await this.resume();
    if (last === undefined) return;
    await last.stop();
    this.#directory.forgetProcess(last);
  }
}

const endingSignals = {
  epmd: { orderly: 'SIGTERM', immediate: 'SIGKILL' },
  rabbitmq: { orderly: 'SIGTERM', immediate: 'SIGKILL' },
  // Fast and immediate shutdown. SIGTERM would wait for every client to leave.
  postgres: { orderly: 'SIGINT', immediate: 'SIGQUIT' },
} as const;
