import { type Random, seededRandom } from '../../fleet/random.ts';
import type { Tuning } from '../assumptions.ts';
import type { PathCosts } from '../costs.ts';
import { Clock } from './clock.ts';
import { Database } from './database.ts';
import { poisson } from './draws.ts';
import { Ingest } from './ingest.ts';
import { Latencies } from './latencies.ts';
import { Machine, Thread } from './machine.ts';
import { PersistenceWorker } from './persistence-worker.ts';
import type { Wait } from './draws.ts';
import { WorkQueue } from './work-queue.ts';

export interface SiteOptions {
  readonly costs: PathCosts;
  readonly handshakeMicros: number;
  readonly tuning: Tuning;
  readonly messagesPerSecond: number;
  readonly readingsPerMessage: number;
  /** As received. */
  readonly bytesPerReading: number;
  readonly ingests: number;
  readonly queues: number;
  /** Distributed over the queues; at least one per queue. */
  readonly workers: number;
  /** Distributed over the workers. */
  readonly databases: number;
  readonly databaseCores: number;
  readonly confirm: Wait;
  readonly commit: Wait;
  /** Frames that arrive within one tick form a group. */
  readonly tickMs: number;
}

/** An installation: each ingest-ws, queue leader and worker has a core of its own, each Postgres a machine. */
export class Site {
  readonly clock = new Clock();
  readonly random: Random = seededRandom(1);
  readonly acked = new Latencies();
  readonly stored = new Latencies();
  readonly databases: readonly Database[];
  readonly queues: readonly WorkQueue[];
  readonly workers: readonly PersistenceWorker[];
  readonly ingests: readonly Ingest[];
  readonly #options: SiteOptions;
  readonly #lost = new Set<Ingest>();

  constructor(options: SiteOptions) {
    this.#options = options;
    const { costs, handshakeMicros, tuning, confirm, commit } = options;
    const { clock, random } = this;
    const several = <T>(count: number, make: (index: number) => T) =>
      Array.from({ length: count }, (_, at) => make(at));
    const core = () => new Thread(new Machine(clock, 1));
    this.databases = several(
      options.databases,
      () =>
        new Database({
          clock,
          machine: new Machine(clock, options.databaseCores),
          cost: costs.database,
          commit,
          random,
        }),
    );
    this.queues = several(
      options.queues,
      () => new WorkQueue({ clock, leader: core(), cost: costs.broker, confirm, random }),
    );
    this.workers = several(
      Math.max(options.workers, options.queues),
      (at) =>
        new PersistenceWorker({
          clock,
          thread: core(),
          cost: costs.worker,
          database: this.databases[at % options.databases]!,
          tuning,
          stored: this.stored,
        }),
    );
    for (const [at, worker] of this.workers.entries()) this.queues[at % options.queues]!.addWorker(worker);
    this.ingests = several(
      options.ingests,
      () =>
        new Ingest({
          clock,
          thread: core(),
          cost: costs.ingest,
          handshakeMicros,
          tuning,
          queues: this.queues,
          acked: this.acked,
          random,
        }),
    );
    for (const ingest of this.ingests) this.#tick(ingest);
  }

  /** Its devices send to the others. */
  lose(ingest: Ingest): void {
    this.#lost.add(ingest);
  }

  get present(): readonly Ingest[] {
    return this.ingests.filter((ingest) => !this.#lost.has(ingest));
  }

  runFor(seconds: number): void {
    this.clock.run(this.clock.now + seconds * 1_000);
  }

  /** Checks `isDone` at intervals, for at most `secondsMost`. */
  runUntil(isDone: () => boolean, intervalSeconds: number, secondsMost: number): void {
    const givesUpAt = this.clock.now + secondsMost * 1_000;
    while (!isDone() && this.clock.now < givesUpAt) this.runFor(intervalSeconds);
  }

  #tick(ingest: Ingest): void {
    const { messagesPerSecond, readingsPerMessage, bytesPerReading, tickMs, ingests, queues } = this.#options;
    if (this.#lost.has(ingest)) return;
    const meanMessages = (messagesPerSecond / (ingests - this.#lost.size) / queues) * (tickMs / 1_000);
    for (let queue = 0; queue < queues; queue += 1) {
      const readings = poisson(meanMessages, this.random) * readingsPerMessage;
      if (readings === 0) continue;
      ingest.receive(
        { readingCount: readings, bytes: readings * bytesPerReading, sentAt: this.clock.now - tickMs / 2 },
        queue,
      );
    }
    this.clock.after(tickMs, () => this.#tick(ingest));
  }
}
