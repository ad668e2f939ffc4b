import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { Origin } from '@fleetwire/store/reconciliation-statements';
import type { FailureClass } from '@fleetwire/store/failure';
import type { RetryWhileUnavailable } from './retry-while-unavailable.ts';

type Write = (
  readings: readonly IdentifiedReading[],
  origin: Origin,
) => Promise<{ stored: number; duplicates: number }>;

export interface Condemned {
  readonly reading: IdentifiedReading;
  readonly error: unknown;
}

export interface StoreOutcome {
  readonly stored: number;
  readonly duplicates: number;
  readonly condemned: readonly Condemned[];
}

export interface StorerOptions {
  readonly write: Write;
  readonly classify: (error: unknown) => FailureClass;
  readonly retryWhileUnavailable: RetryWhileUnavailable;
  readonly signal: AbortSignal;
}

/** Writes readings until each is stored or condemned. */
export class Storer {
  readonly #options: StorerOptions;

  constructor(options: StorerOptions) {
    this.#options = options;
  }

  /**
   * Bad data is bisected down to the reading that Postgres refuses. While Postgres is away it holds.
   *
   * @param origin for the books; what may have been stored by a try before is a `repeat`
   * @param isLastChance also an unknown error is bisected, instead of thrown
   * @throws an unknown error, with nothing of these readings lost; the signal's reason when it is time to stop
   */
  async store(
    readings: readonly IdentifiedReading[],
    { origin = 'first', isLastChance = false }: { origin?: Origin; isLastChance?: boolean } = {},
  ): Promise<StoreOutcome> {
    try {
      const { stored, duplicates } = await this.#options.retryWhileUnavailable((mayBeCommitted) =>
        this.#options.write(readings, origin === 'first' && mayBeCommitted ? 'repeat' : origin),
      );
      return { stored, duplicates, condemned: [] };
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (this.#options.classify(error) === 'unknown' && !isLastChance) throw error;
      const [only] = readings;
      if (readings.length === 1 && only !== undefined)
        return { stored: 0, duplicates: 0, condemned: [{ reading: only, error }] };
      const middle = Math.ceil(readings.length / 2);
      const first = await this.store(readings.slice(0, middle), { origin, isLastChance });
      const second = await this.store(readings.slice(middle), { origin, isLastChance });
      return {
        stored: first.stored + second.stored,
        duplicates: first.duplicates + second.duplicates,
        condemned: [...first.condemned, ...second.condemned],
      };
    }
  }
}
