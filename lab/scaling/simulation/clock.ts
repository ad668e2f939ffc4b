import TinyQueue from 'tinyqueue';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Simulated time in milliseconds: events happen in chronological order, simultaneous ones in the order in which they were scheduled. */
export class Clock {
  readonly #events = new TinyQueue<Event>([], (a, b) => a.at - b.at || a.order - b.order);
  #now = 0;
  #scheduled = 0;

  get now(): number {
    return this.#now;
  }

  after(delayMs: number, happen: () => void): void {
    this.#events.push({ at: this.#now + delayMs, order: this.#scheduled, happen });
    this.#scheduled += 1;
  }

  /** Runs all events that are due up to `untilMs`. */
  run(untilMs: number): void {
    for (let next = this.#events.peek(); next !== undefined && next.at <= untilMs; next = this.#events.peek()) {
      this.#events.pop();
      this.#now = next.at;
      next.happen();
    }
  }
}
