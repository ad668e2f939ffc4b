import TinyQueue from 'tinyqueue';
import type { Clock } from './clock.ts';

interface Job {
  readonly endsAt: number;
  readonly order: number;
  readonly done: () => void;
}

/** Cores that all running jobs share equally; one job uses at most one core. */
export class Machine {
  readonly #clock: Clock;
  readonly #cores: number;
  /** Jobs end at moments of the machine's own time, which runs slower than the clock while jobs outnumber cores. */
  readonly #jobs = new TinyQueue<Job>([], (a, b) => a.endsAt - b.endsAt || a.order - b.order);
  #ownNow = 0;
  #updatedAt = 0;
  #started = 0;
  #alarm = 0;
  #busyMs = 0;

  constructor(clock: Clock, cores: number) {
    this.#clock = clock;
    this.#cores = cores;
  }

  /** Core milliseconds used so far. */
  get busyMs(): number {
    this.#update();
    return this.#busyMs;
  }

  get cores(): number {
    return this.#cores;
  }

  start(cpuMs: number, done: () => void): void {
    this.#update();
    this.#jobs.push({ endsAt: this.#ownNow + cpuMs, order: this.#started, done });
    this.#started += 1;
    this.#setAlarm();
  }

  get #pace(): number {
    return Math.min(1, this.#cores / this.#jobs.length);
  }

  #update(): void {
    const passedMs = this.#clock.now - this.#updatedAt;
    this.#updatedAt = this.#clock.now;
    if (this.#jobs.length === 0) return;
    this.#ownNow += passedMs * this.#pace;
    this.#busyMs += passedMs * Math.min(this.#cores, this.#jobs.length);
  }

  #setAlarm(): void {
    const first = this.#jobs.peek();
    if (first === undefined) return;
    this.#alarm += 1;
    const alarm = this.#alarm;
    this.#clock.after(Math.max(0, first.endsAt - this.#ownNow) / this.#pace, () => {
      // Another job has started or ended since.
      if (alarm !== this.#alarm) return;
      this.#update();
      const { done } = this.#jobs.pop()!;
      done();
      this.#setAlarm();
    });
  }
}

interface Task {
  readonly cpuMs: number;
  readonly done: () => void;
  next: Task | undefined;
}

/** Does one task at a time, in order of arrival: a Node process, or the leader of a quorum queue. */
export class Thread {
  readonly #machine: Machine;
  #first: Task | undefined;
  #last: Task | undefined;
  #cpuMs = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** CPU milliseconds of all tasks so far. */
  get cpuMs(): number {
    return this.#cpuMs;
  }

  do(cpuMs: number, done: () => void): void {
    this.#cpuMs += cpuMs;
    const task: Task = { cpuMs, done, next: undefined };
    if (this.#last === undefined) {
      this.#first = task;
      this.#last = task;
      this.#begin(task);
    } else {
      this.#last.next = task;
      this.#last = task;
    }
  }

  #begin({ cpuMs }: Task): void {
    this.#machine.start(cpuMs, () => {
      const { done, next } = this.#first!;
      this.#first = next;
      if (next === undefined) this.#last = undefined;
      else this.#begin(next);
      done();
    });
  }
}
