import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';

const scrapeIntervalMs = 500;
const scrapeTimeoutMs = 1_000;
const sample = /^(fleetwire_(?:ingest|worker)_readings_total)\{(?:result|outcome)="([^"]+)"\} (\d+)/gm;

export type Counters = Readonly<Record<string, number>>;

/**
 * What the services counted, summed over restarts. What a process counted between the last scrape and its exit is missing: once a process was
 * killed, these numbers are a lower bound.
 */
export class CounterWatch {
  readonly #services: readonly ServiceProcess[];
  readonly #last = new Map<string, Record<string, number>>();
  /** When the workers were seen to have stored more: milliseconds of `performance.now()`. */
  readonly storedAt: number[] = [];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(services: readonly ServiceProcess[]) {
    this.#services = services;
    this.#running = this.#watch();
  }

  /** Scrapes a last time. @returns e.g. `worker stored` → readings */
  async stop(): Promise<Counters> {
    this.#stopping.abort();
    await this.#running;
    await this.#scrapeAll();
    const sums: Record<string, number> = {};
    for (const counts of this.#last.values())
      for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
    return sums;
  }

  async #watch(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#scrapeAll();
      await sleep(scrapeIntervalMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  async #scrapeAll(): Promise<void> {
    await Promise.all(this.#services.map((service) => this.#scrape(service).catch(() => {})));
  }

  async #scrape({ name, url, starts }: ServiceProcess): Promise<void> {
    const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(scrapeTimeoutMs) });
    const counts: Record<string, number> = {};
    for (const [, metric, label, count] of (await response.text()).matchAll(sample))
      counts[`${metric === 'fleetwire_ingest_readings_total' ? 'ingest' : 'worker'} ${label}`] = Number(count);
    const key = `${name} ${starts}`;
    if ((counts['worker stored'] ?? 0) > (this.#last.get(key)?.['worker stored'] ?? 0))
      this.storedAt.push(performance.now());
    this.#last.set(key, counts);
  }
}
