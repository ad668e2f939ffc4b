import { type Claims } from '@fleetwire/contracts/access';
import { LatestSubscription } from './latest-subscription.ts';
import { LiveFilter } from './live-filter.ts';
import type { LiveHub } from './live-hub.ts';
import type { SelectedReading } from './selection.ts';

/** Updates of one device in a second. */
const maxRateHz = 20;

/**
 * The newest readings of all devices that a caller may read. It collects from its construction on, and sends from {@link begin} on: so a
 * state that is read in between, and sent before, misses none of them.
 */
export class Broadcast {
  readonly subscription: LatestSubscription;
  readonly #hub: LiveHub;
  #write: (text: string) => void = () => {};
  #onTooManyEntries: (() => void) | undefined;
  #isOverfull = false;

  constructor(
    hub: LiveHub,
    { claims, textsOf }: { claims: Claims; textsOf: (readings: readonly SelectedReading[]) => Iterable<string> },
  ) {
    this.#hub = hub;
    const { metrics, limits } = hub.options;
    this.subscription = new LatestSubscription({
      filter: new LiveFilter(claims.role === 'device' ? { devices: [claims.sub] } : { pattern: '*' }),
      maxRateHz,
      entriesMax: limits.watcherEntriesMax,
      metrics,
      textsOf,
      onReadings: (text) => this.#write(text),
      onTooManyEntries: () => this.#overflow(),
    });
    this.subscription.pause();
    this.subscription.revision = hub.add(this.subscription);
  }

  /** @param write writes one of the texts that `textsOf` made */
  begin(write: (text: string) => void, onTooManyEntries: () => void): void {
    this.#write = write;
    this.#onTooManyEntries = onTooManyEntries;
    if (this.#isOverfull) onTooManyEntries();
    else this.subscription.resume(Date.now());
  }

  /** Harmless where it has begun and ended. */
  cancel(): void {
    this.#hub.remove(this.subscription);
    this.subscription.close();
  }

  #overflow(): void {
    this.#isOverfull = true;
    this.cancel();
    this.#onTooManyEntries?.();
  }
}
