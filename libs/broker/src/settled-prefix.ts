/** What a handler says of a message: it is safe elsewhere, or it goes back to the queue. */
export type Verdict = 'done' | 'requeue';

/**
 * Finds what one `ack` with `multiple` may cover, while handlers finish in any order: the longest unbroken run of
 * verdicts from the channel's first delivery on. Delivery tags count from 1 on each channel (AMQP 0-9-1, "basic.ack").
 */
export interface SettledPrefix {
  settle(tag: number, verdict: Verdict): void;
  /** The tag to acknowledge up to and how many messages that ends, or undefined when nothing new can be. */
  takeAck(): { upTo: number; messages: number } | undefined;
}

export function createSettledPrefix(): SettledPrefix {
  const ahead = new Map<number, Verdict>();
  let firstUnsettled = 1;
  let ackable = 0;
  let messages = 0;

  return {
    settle(tag, verdict) {
      ahead.set(tag, verdict);
      for (let next = ahead.get(firstUnsettled); next !== undefined; next = ahead.get(firstUnsettled)) {
        // Never a requeued tag: the broker has taken it back already and would call it unknown.
        if (next === 'done') {
          ackable = firstUnsettled;
          messages += 1;
        }
        ahead.delete(firstUnsettled);
        firstUnsettled += 1;
      }
    },
    takeAck() {
      if (messages === 0) return undefined;
      const ack = { upTo: ackable, messages };
      messages = 0;
      return ack;
    },
  };
}
