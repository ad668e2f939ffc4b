/** Limits work to a mean rate. Time is an argument, in milliseconds of a monotonic clock. */
export class TokenBucket {
  readonly #ratePerMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** @param burst how many tokens gather during a pause */
  constructor({ ratePerSecond, burst }: { ratePerSecond: number; burst: number }, now: number) {
    this.#ratePerMs = ratePerSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes a token, in advance if there is none. @returns how long to wait for it, in milliseconds */
  take(now: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#ratePerMs) - 1;
    this.#at = now;
    return this.#tokens >= 0 ? 0 : -this.#tokens / this.#ratePerMs;
  }
}
