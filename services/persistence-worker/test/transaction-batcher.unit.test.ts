import type { Delivery } from '@fleetwire/broker/delivery';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { describe, expect, it } from 'vitest';
import { type Clock, type PendingMessage, TransactionBatcher } from '../src/transaction-batcher.ts';

const bounds = { readingsMax: 10, bytesMax: 1_000, lingerMs: 20 };
const stuckAfterMs = 100;

/** Time stands still until the test advances it. */
class SteppedClock implements Clock {
  now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.now + delayMs, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  advance(byMs: number): void {
    const until = this.now + byMs;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.now = next.at;
      next.callback();
    }
    this.now = until;
  }
}

function batcherUnderTest({ transactionsMax = 2, messagesMax = 100 } = {}) {
  const clock = new SteppedClock();
  const started: { readonly sizes: number[]; readonly commit: () => Promise<void> }[] = [];
  const run = (batch: readonly PendingMessage[]): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    started.push({
      sizes: batch.map(({ readingCount }) => readingCount),
      commit: async () => {
        for (const message of batch) message.promise.resolve({ rejected: [], isPositionEntered: true, conflicts: [] });
        resolve();
        // The batcher reacts in the microtask after the one that ends the transaction.
        await promise.finally(() => {});
      },
    });
    return promise;
  };
  const batcher = new TransactionBatcher({ bounds, transactionsMax, messagesMax, run, clock });
  const submit = (readings: number, alone = false) =>
    batcher.submit({
      items: Array.from({ length: readings }, (_, seq) => readingOf(seq)),
      alone,
      isLastChance: false,
      delivery,
    });
  return {
    batcher,
    clock,
    submit,
    commit: (n: number) => started[n]!.commit(),
    sizes: () => started.map((each) => each.sizes),
  };
}

const delivery = { content: Buffer.alloc(10), headers: {} } as Partial<Delivery> as Delivery;

function readingOf(seq: number): IdentifiedReading {
  return { deviceId: 'd', epoch: 'e', seq, ts: 0, receivedAt: 0, metrics: { value: 1 } };
}

describe('the transaction batcher', () => {
  it('starts the first message immediately, and shares one transaction among those of the next linger', async () => {
    const { clock, submit, commit, sizes } = batcherUnderTest();
    const first = submit(1);
    expect(sizes()).toEqual([[1]]);
    await commit(0);
    await first;
    void submit(2);
    clock.advance(bounds.lingerMs - 1);
    void submit(3);
    expect(sizes()).toEqual([[1]]);
    clock.advance(1);
    expect(sizes()).toEqual([[1], [2, 3]]);
  });

  it('starts a message immediately when the last transaction started longer ago than the linger', async () => {
    const { clock, submit, commit, sizes } = batcherUnderTest();
    void submit(1);
    await commit(0);
    clock.advance(bounds.lingerMs);
    void submit(2);
    void submit(3);
    expect(sizes()).toEqual([[1], [2]]);
  });

  it('starts no second transaction that is not full, and one with all pending messages when the first commits', async () => {
    const { clock, submit, commit, sizes } = batcherUnderTest();
    void submit(1);
    void submit(4);
    const rest = submit(4);
    clock.advance(5 * bounds.lingerMs);
    expect(sizes()).toEqual([[1]]);
    await commit(0);
    expect(sizes()).toEqual([[1], [4, 4]]);
    await commit(1);
    await rest;
  });

  it('does not wait when the whole prefetch is here: the broker then delivers no more', async () => {
    const { submit, commit, sizes } = batcherUnderTest({ messagesMax: 2 });
    void submit(1);
    const second = submit(1);
    expect(sizes()).toEqual([[1], [1]]);
    await commit(1);
    await second;
    void submit(2);
    expect(sizes()).toEqual([[1], [1], [2]]);
  });

  it('starts a transaction that is not full beside one that may be stuck', () => {
    const { clock, submit, sizes } = batcherUnderTest();
    void submit(1);
    void submit(2);
    clock.advance(bounds.lingerMs + stuckAfterMs - 1);
    expect(sizes()).toEqual([[1]]);
    clock.advance(1);
    expect(sizes()).toEqual([[1], [2]]);
  });

  it('runs a full batch beside one in flight, and no more transactions than its bound', async () => {
    const { batcher, submit, commit, sizes } = batcherUnderTest();
    for (let n = 0; n < 4; n += 1) void submit(bounds.readingsMax);
    expect(batcher.running).toBe(2);
    await commit(0);
    expect(sizes()).toHaveLength(3);
    expect(batcher.running).toBe(2);
  });

  it('gives a message that must be alone a transaction of its own immediately', () => {
    const { submit, sizes } = batcherUnderTest();
    void submit(2);
    void submit(3);
    void submit(1, true);
    expect(sizes()).toEqual([[2], [1]]);
  });
});
