const bucketsPerDoubling = 16;
const leastMs = 0.01;

/** A histogram of latencies, to within 4 %. */
export class Latencies {
  #counts: number[] = [];
  #total = 0;
  #mostMs = 0;

  record(milliseconds: number, times: number): void {
    const bucket = Math.max(0, Math.round(Math.log2(Math.max(leastMs, milliseconds) / leastMs) * bucketsPerDoubling));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + times;
    this.#total += times;
    this.#mostMs = Math.max(this.#mostMs, milliseconds);
  }

  reset(): void {
    this.#counts = [];
    this.#total = 0;
    this.#mostMs = 0;
  }

  get count(): number {
    return this.#total;
  }

  get mostMs(): number {
    return this.#mostMs;
  }

  /** 0 when nothing was recorded. */
  percentile(percent: number): number {
    let wanted = (percent / 100) * this.#total;
    for (const [bucket, count] of this.#counts.entries()) {
      wanted -= count ?? 0;
      if (wanted <= 0) return leastMs * 2 ** (bucket / bucketsPerDoubling);
    }
    return 0;
  }
}
