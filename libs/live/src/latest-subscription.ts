import type { Metrics } from '@fleetwire/contracts/metrics';
import type { HeardMessage, HubSubscription } from './live-hub.ts';
import type { LiveFilter } from './live-filter.ts';
import type { LiveMetrics } from './live-metrics.ts';
import { type SelectedReading, framesOf } from './selection.ts';

interface Newest {
  reading: SelectedReading;
  readonly metrics: Record<string, { value: Metrics[string]; ts: number }>;
}

export interface LatestOptions {
  readonly filter: LiveFilter;
  readonly maxRateHz: number | undefined;
  readonly entriesMax: number;
  readonly metrics: LiveMetrics;
  /** How readings that were held back are written; JSON arrays by default, as those that were not. */
  readonly textsOf?: ((readings: readonly SelectedReading[]) => Iterable<string>) | undefined;
  /** @param readings a JSON array, or a text of `textsOf` */
  readonly onReadings: (readings: string, conflated: number) => void;
  readonly onTooManyEntries: () => void;
}

/** A subscription in mode `latest`: live readings, or the newest value of each device and metric where they come faster than they may be sent. */
export class LatestSubscription implements HubSubscription {
  readonly filter: LiveFilter;
  readonly hearsAll = false;
  revision = 0;
  readonly #options: LatestOptions;
  readonly #newest = new Map<string, Newest>();
  #entries = 0;
  #waiting = 0;
  #sentAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #isPaused = false;

  constructor(options: LatestOptions) {
    this.#options = options;
    this.filter = options.filter;
  }

  hear({ selection, revision }: HeardMessage, now: number): void {
    if (selection === undefined || revision < this.revision) return;
    const { maxRateHz, metrics, onReadings } = this.#options;
    if (maxRateHz === undefined && !this.#isPaused) {
      for (const frame of selection.frames) onReadings(frame, 0);
      metrics.readings.inc({ phase: 'live' }, selection.readings.length);
      return;
    }
    for (const reading of selection.readings) this.#keep(reading);
    if (this.#entries > this.#options.entriesMax) return this.#options.onTooManyEntries();
    if (!this.#isPaused) this.#schedule(now);
  }

  noteReconnected(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(now: number): void {
    this.#isPaused = false;
    this.#schedule(now);
  }

  tick(): void {}

  close(): void {
    clearTimeout(this.#timer);
  }

  #keep(reading: SelectedReading): void {
    this.#waiting += 1;
    let newest = this.#newest.get(reading.deviceId);
    if (newest === undefined) {
      newest = { reading, metrics: {} };
      this.#newest.set(reading.deviceId, newest);
    } else if (reading.ts >= newest.reading.ts) newest.reading = reading;
    for (const [name, value] of Object.entries(reading.metrics)) {
      const known = Object.hasOwn(newest.metrics, name) ? newest.metrics[name] : undefined;
      if (known === undefined) this.#entries += 1;
      if (known === undefined || reading.ts >= known.ts) newest.metrics[name] = { value, ts: reading.ts };
    }
  }

  #schedule(now: number): void {
    if (this.#timer !== undefined || this.#newest.size === 0) return;
    const { maxRateHz } = this.#options;
    const wait = maxRateHz === undefined ? 0 : Math.max(0, this.#sentAt + 1_000 / maxRateHz - now);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#isPaused) this.#flush();
    }, wait);
  }

  #flush(): void {
    this.#sentAt = Date.now();
    const readings = [...this.#newest.values()].map(({ reading, metrics }) => ({
      ...reading,
      metrics: Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value])),
    }));
    let conflated = this.#waiting - readings.length;
    this.#options.metrics.conflated.inc(conflated);
    this.#options.metrics.readings.inc({ phase: 'live' }, readings.length);
    this.#newest.clear();
    this.#entries = 0;
    this.#waiting = 0;
    for (const frame of (this.#options.textsOf ?? framesOf)(readings)) {
      this.#options.onReadings(frame, conflated);
      conflated = 0;
    }
  }
}
