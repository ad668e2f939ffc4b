import { type Counter, Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import type { Caller } from '../caller.ts';

const retryAfterMs = 5_000;

interface Limits {
  readonly exportStreamsMax: number;
  readonly exportStreamsPerCallerMax: number;
}

/** How many streams run at the same time: of each caller, and of all. */
export class StreamSlots {
  readonly #limits: Limits;
  readonly #refused: Counter<'reason'>;
  readonly #gauge: Gauge;
  readonly #byCaller = new Map<string, number>();
  #streams = 0;

  constructor(limits: Limits, refused: Counter<'reason'>, registry: Registry) {
    this.#limits = limits;
    this.#refused = refused;
    this.#gauge = new Gauge({
      name: 'fleetwire_export_streams',
      help: 'Exports that are being sent; the bound is EXPORT_STREAMS_MAX',
      registers: [registry],
    });
  }

  /**
   * @returns gives the slot back
   * @throws {Problem} 429 or 503
   */
  take({ role, sub }: Caller): () => void {
    const { exportStreamsMax, exportStreamsPerCallerMax } = this.#limits;
    const key = `${role} ${sub}`;
    const own = this.#byCaller.get(key) ?? 0;
    if (own >= exportStreamsPerCallerMax) {
      this.#refused.inc({ reason: 'exports-in-flight' });
      throw tooManyRequests(
        `You have ${own} exports in flight; at most ${exportStreamsPerCallerMax} (EXPORT_STREAMS_PER_CALLER_MAX). Wait until one has ended`,
        retryAfterMs,
        { limit: 'exports-in-flight' },
      );
    }
    if (this.#streams >= exportStreamsMax) {
      this.#refused.inc({ reason: 'export-streams' });
      throw unavailable(
        `${this.#streams} exports are in flight; at most ${exportStreamsMax} (EXPORT_STREAMS_MAX). Try again later`,
        retryAfterMs,
      );
    }
    this.#count(key, 1);
    let isHeld = true;
    return () => {
      if (isHeld) this.#count(key, -1);
      isHeld = false;
    };
  }

  #count(key: string, change: 1 | -1): void {
    const own = (this.#byCaller.get(key) ?? 0) + change;
    if (own === 0) this.#byCaller.delete(key);
    else this.#byCaller.set(key, own);
    this.#streams += change;
    this.#gauge.set(this.#streams);
  }
}
