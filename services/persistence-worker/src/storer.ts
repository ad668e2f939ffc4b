import { setTimeout as sleep } from 'node:timers/promises';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { DatabaseGate } from './database-gate.ts';

/** What a failure asks for (architecture: failure policy). */
export type FailureClass = 'hold' | 'retry-now' | 'bad-data' | 'unknown';

export type Write = (readings: readonly IdentifiedReading[]) => Promise<{ stored: number; duplicates: number }>;

export type Condemned = { readonly reading: IdentifiedReading; readonly error: unknown };

export type StoreOutcome = {
  readonly stored: number;
  readonly duplicates: number;
  readonly condemned: readonly Condemned[];
};

export type StorerOptions = {
  readonly write: Write;
  readonly classify: (error: unknown) => FailureClass;
  readonly gate: DatabaseGate;
};

const retryNowPauseMs = 50;

/** Writes readings until each is stored or condemned. */
export class Storer {
  readonly #options: StorerOptions;

  constructor(options: StorerOptions) {
    this.#options = options;
  }

  /**
   * Bad data is bisected down to the reading that Postgres refuses. While Postgres is away it holds.
   *
   * @param isLastChance also an unknown error is bisected, instead of thrown
   * @throws an unknown error, with nothing of these readings lost; the signal's reason when it is time to stop
   */
  async store(
    readings: readonly IdentifiedReading[],
    signal: AbortSignal,
    isLastChance = false,
  ): Promise<StoreOutcome> {
    try {
      const { stored, duplicates } = await this.#writePatiently(readings, signal);
      return { stored, duplicates, condemned: [] };
    } catch (error) {
      signal.throwIfAborted();
      if (this.#options.classify(error) === 'unknown' && !isLastChance) throw error;
      const [only] = readings;
      if (readings.length === 1 && only !== undefined)
        return { stored: 0, duplicates: 0, condemned: [{ reading: only, error }] };
      const middle = Math.ceil(readings.length / 2);
      const first = await this.store(readings.slice(0, middle), signal, isLastChance);
      const second = await this.store(readings.slice(middle), signal, isLastChance);
      return {
        stored: first.stored + second.stored,
        duplicates: first.duplicates + second.duplicates,
        condemned: [...first.condemned, ...second.condemned],
      };
    }
  }

  async #writePatiently(
    readings: readonly IdentifiedReading[],
    signal: AbortSignal,
  ): Promise<{ stored: number; duplicates: number }> {
    const { write, classify, gate } = this.#options;
    for (;;) {
      await gate.pass(signal);
      try {
        const written = await write(readings);
        gate.succeeded();
        return written;
      } catch (error) {
        const failure = classify(error);
        if (failure === 'hold') gate.close(error, signal);
        else if (failure === 'retry-now') await sleep(Math.random() * retryNowPauseMs, undefined, { signal });
        else throw error;
      }
    }
  }
}
