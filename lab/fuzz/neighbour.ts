import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

export interface NeighbourOptions {
  readonly url: string;
  readonly token: string;
  readonly epoch: string;
  /** Between readings. */
  readonly intervalMs: number;
}

export interface NeighbourReport {
  /** All readings from 0 to it are acknowledged, except those in `refused`. */
  readonly upTo: number;
  /** Readings sent and not answered yet. */
  readonly open: number;
  /** How long the oldest open reading has had no answer. */
  readonly oldestMs: number;
  /** Readings with a final nack; there must be none. */
  readonly refused: readonly number[];
  readonly reconnects: number;
  /** Milliseconds from sending to ack, of the readings acknowledged since the last report. */
  readonly latencies: readonly number[];
}

/** The quiet neighbour: one device that sends at a steady pace while others are fuzzed. */
export class Neighbour implements AsyncDisposable {
  readonly #worker: Worker;

  constructor(options: NeighbourOptions) {
    this.#worker = new Worker(new URL('./neighbour-main.ts', import.meta.url), { workerData: options });
  }

  report(): Promise<NeighbourReport> {
    return this.#ask('report');
  }

  /** Stops sending, and waits until every reading has its answer. */
  async settle(timeoutMs: number): Promise<NeighbourReport> {
    const deadline = performance.now() + timeoutMs;
    const latencies: number[] = [];
    for (;;) {
      const report = await this.#ask('stop');
      latencies.push(...report.latencies);
      if (report.open === 0 || performance.now() > deadline) return { ...report, latencies };
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  async #ask(wanted: 'report' | 'stop'): Promise<NeighbourReport> {
    const answer = once(this.#worker, 'message') as Promise<[NeighbourReport]>;
    this.#worker.postMessage(wanted, []);
    return (await answer)[0];
  }
}
