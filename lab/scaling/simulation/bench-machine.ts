import { seededRandom } from '../../fleet/random.ts';
import { defaults } from '../assumptions.ts';
import type { PathCosts, Quantiles } from '../costs.ts';
import { Clock } from './clock.ts';
import { Database } from './database.ts';
import type { Group } from './group.ts';
import { Ingest } from './ingest.ts';
import { Latencies } from './latencies.ts';
import { Machine, Thread } from './machine.ts';
import { PersistenceWorker } from './persistence-worker.ts';
import { type Wait, noWait } from './draws.ts';
import { WorkQueue } from './work-queue.ts';

export interface BenchMachineOptions {
  readonly costs: PathCosts;
  readonly cores: number;
  readonly confirm: Wait;
  readonly commit: Wait;
  readonly bytesPerReading: number;
}

/** As in the bench's load generator, whose timers are up to a millisecond late. */
const tickMs = 2;
const timerLateMs = 1;
/** Readings that are sent together in the flood. */
const groupReadings = 25;
const longestMs = 600_000;

/** The machine of the bench: all servers, services and the load generator share its cores. */
export class BenchMachine {
  readonly acked = new Latencies();
  readonly stored = new Latencies();
  readonly #options: BenchMachineOptions;
  readonly #clock = new Clock();
  readonly #random = seededRandom(1);
  readonly #load: Thread;
  readonly #ingest: Ingest;
  readonly #worker: PersistenceWorker;
  #onAck: (group: Group) => void = () => {};

  constructor(options: BenchMachineOptions) {
    const { costs, confirm, commit } = options;
    this.#options = options;
    const clock = this.#clock;
    const random = this.#random;
    const machine = new Machine(clock, options.cores);
    const database = new Database({ clock, machine, cost: costs.database, commit, random });
    const queue = new WorkQueue({ clock, leader: new Thread(machine), cost: costs.broker, confirm, random });
    this.#load = new Thread(machine);
    this.#worker = new PersistenceWorker({
      clock,
      thread: new Thread(machine),
      cost: costs.worker,
      database,
      tuning: defaults,
      stored: this.stored,
    });
    queue.addWorker(this.#worker);
    this.#ingest = new Ingest({
      clock,
      thread: new Thread(machine),
      cost: costs.ingest,
      handshakeMicros: 0,
      tuning: defaults,
      queues: [queue],
      acked: this.acked,
      random,
      onAck: (group) => this.#onAck(group),
    });
  }

  /** Sends as fast as acks allow. @returns readings per second until the last one is stored */
  flood(readingsInFlight: number, seconds: number): number {
    let sent = 0;
    const send = (readings: number) => {
      sent += readings;
      this.#send(readings);
    };
    this.#onAck = ({ readingCount }) => {
      if (this.#clock.now < seconds * 1_000) send(readingCount);
    };
    for (let readings = 0; readings < readingsInFlight; readings += groupReadings) send(groupReadings);
    this.#clock.run(seconds * 1_000);
    return (sent * 1_000) / this.#drained(() => sent);
  }

  /** Sends at an even rate and records latencies. */
  pace(readingsPerSecond: number, readingsPerFrame: number, seconds: number): void {
    let sent = 0;
    const tick = () => {
      const due = (this.#clock.now / 1_000) * readingsPerSecond;
      const readings = Math.floor((due - sent) / readingsPerFrame) * readingsPerFrame;
      sent += readings;
      if (readings > 0) this.#send(readings);
      if (this.#clock.now < seconds * 1_000) this.#clock.after(tickMs + this.#random() * timerLateMs, tick);
    };
    tick();
    this.#clock.run(seconds * 1_000);
    this.#drained(() => sent);
  }

  /** @returns the time at which everything sent was stored, in milliseconds */
  #drained(sent: () => number): number {
    for (let until = this.#clock.now + tickMs; until < longestMs; until += tickMs) {
      this.#clock.run(until);
      if (sent() > 0 && this.#worker.storedReadings >= sent()) return this.#clock.now;
    }
    throw new Error(`${this.#worker.storedReadings} readings of ${sent()} were stored within ${longestMs} ms`);
  }

  #send(readings: number): void {
    const { costs, bytesPerReading } = this.#options;
    this.#load.do((readings * costs.load.perReading) / 1_000, () => {
      const group: Group = { readingCount: readings, bytes: readings * bytesPerReading, sentAt: this.#clock.now };
      this.#ingest.receive(group, 0);
    });
  }
}

export interface Calibration {
  readonly confirm: Wait;
  readonly commit: Wait;
}

const lowReadingsPerSecond = 300;
const lowLoadSeconds = 60;

/** Finds the waits for confirm and commit, beside CPU time, with which the simulation has the measured latencies at low load. */
export function calibrate(
  options: Omit<BenchMachineOptions, keyof Calibration>,
  lowLoad: { readonly ack: Quantiles; readonly stored: Quantiles },
): Calibration {
  const paced = (waits: Calibration) => {
    const machine = new BenchMachine({ ...options, ...waits });
    machine.pace(lowReadingsPerSecond, 1, lowLoadSeconds);
    return machine;
  };
  const confirm = waitBetween(paced({ confirm: noWait, commit: noWait }).acked, lowLoad.ack);
  const commit = waitBetween(paced({ confirm, commit: noWait }).stored, lowLoad.stored);
  return { confirm, commit };
}

/** An exponential distribution has its p50 at ln 2 means, and its p99 ln 50 means above that. */
function waitBetween(simulated: Latencies, measured: Quantiles): Wait {
  const [p50Ms, p99Ms] = [simulated.percentile(50), simulated.percentile(99)];
  const meanMs = Math.max(0, (measured.p99Ms - measured.p50Ms - (p99Ms - p50Ms)) / Math.log(50));
  return { leastMs: Math.max(0, measured.p50Ms - p50Ms - meanMs * Math.LN2), meanMs };
}
