import TinyQueue from 'tinyqueue';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Simulated time in milliseconds: events happen in its order, those of one moment in the order in which they were asked for. */
export class Clock {
  readonly #events = new TinyQueue<Event>([], (a, b) => a.at - b.at || a.order - b.order);
  #now = 0;
  #asked = 0;

  get now(): number {
    return this.#now;
  }

  after(delayMs: number, happen: () => void): void {
    this.#events.push({ at: this.#now + delayMs, order: this.#asked, happen });
    this.#asked += 1;
  }

  /** Lets happen what is due up to `untilMs`, or before it, when nothing is left to happen. */
  run(untilMs: number): void {
    for (let next = this.#events.peek(); next !== undefined && next.at <= untilMs; next = this.#events.peek()) {
      this.#events.pop();
      this.#now = next.at;
      next.happen();
    }
  }
}
