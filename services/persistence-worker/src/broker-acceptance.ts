import type { Publisher } from '@fleetwire/broker/publisher';
import { exchanges } from '@fleetwire/broker/topology';

const askEveryMs = 1_000;

/**
 * Whether the broker takes messages, found by publishing one that no queue takes. In a memory or disk alarm it takes none from anyone: that
 * edges say nothing then does not mean that they are gone.
 */
export class BrokerAcceptance {
  readonly #publisher: Publisher;
  #askedAt = Number.NEGATIVE_INFINITY;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #isAsking = false;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** Whether it took a message that was published at most `ms` ago; asks again, for later calls. */
  within(ms: number): boolean {
    const now = performance.now();
    if (!this.#isAsking && now - this.#askedAt >= askEveryMs) void this.#ask(now);
    return now - this.#confirmedAt <= ms;
  }

  async #ask(now: number): Promise<void> {
    this.#isAsking = true;
    this.#askedAt = now;
    const routingKey = 'no.queue';
    await this.#publisher
      .publish({
        exchange: exchanges.default,
        routingKey,
        messageId: routingKey,
        content: Buffer.alloc(0),
        isTransient: true,
      })
      .then(
        () => (this.#confirmedAt = performance.now()),
        () => {},
      );
    this.#isAsking = false;
  }
}
