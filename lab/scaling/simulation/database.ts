import type { Random } from '../../fleet/random.ts';
import { production } from '../assumptions.ts';
import { type CpuCost, cpuMicros } from '../costs.ts';
import type { Clock } from './clock.ts';
import type { Machine } from './machine.ts';
import { type Wait, drawMs } from './draws.ts';

export interface DatabaseOptions {
  readonly clock: Clock;
  readonly machine: Machine;
  readonly cost: CpuCost;
  /** From the end of the statements until the worker knows that the commit is on disk. */
  readonly commit: Wait;
  readonly random: Random;
}

/** Postgres: each transaction runs on a backend of its own. */
export class Database {
  readonly #options: DatabaseOptions;
  /** Writes that wait while it is unavailable. */
  #held: (() => void)[] | undefined;
  #cpuMs = 0;

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  get machine(): Machine {
    return this.#options.machine;
  }

  get cpuMs(): number {
    return this.#cpuMs;
  }

  stop(): void {
    this.#held = [];
  }

  /** Writers retry within their longest hold. */
  resume(): void {
    const { clock, random } = this.#options;
    for (const write of this.#held ?? []) clock.after(random() * production.holdCapMs, write);
    this.#held = undefined;
  }

  write(readings: number, committed: () => void): void {
    const { clock, machine, cost, commit, random } = this.#options;
    if (this.#held !== undefined) {
      this.#held.push(() => this.write(readings, committed));
      return;
    }
    const cpuMs = cpuMicros(cost, readings) / 1_000;
    this.#cpuMs += cpuMs;
    machine.start(cpuMs, () => clock.after(drawMs(commit, random), committed));
  }
}
