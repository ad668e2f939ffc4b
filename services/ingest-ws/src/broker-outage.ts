/** Bounds of `retryAfterMs` while the broker does not take readings. */
const retryAfterMinMs = 1_000;
const firstCeilingMs = 2_000;
const retryAfterMaxMs = 60_000;

/**
 * The time since which the broker has not taken readings. The delay is at most that long: resends become rarer the longer an outage lasts, no
 * device waits longer after it than it lasted, and full jitter keeps a fleet from coming back at one moment. See also `backoffMs`.
 */
export class BrokerOutage {
  #since: number | undefined;

  get isGoingOn(): boolean {
    return this.#since !== undefined;
  }

  /** The broker takes readings again. */
  end(): void {
    this.#since = undefined;
  }

  /**
   * The delay for one device; the first call begins the outage.
   *
   * @param now milliseconds of a monotonic clock
   * @param random from 0 to 1
   */
  retryAfterMs(now: number = performance.now(), random: number = Math.random()): number {
    this.#since ??= now;
    const ceilingMs = Math.min(retryAfterMaxMs, Math.max(firstCeilingMs, now - this.#since));
    return Math.round(retryAfterMinMs + random * (ceilingMs - retryAfterMinMs));
  }
}
