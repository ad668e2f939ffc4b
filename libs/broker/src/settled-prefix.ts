/** What becomes of a delivery: `ack` removes the message from the queue, `requeue` returns it for immediate redelivery. */
export type Settlement = 'ack' | 'requeue';

/**
 * Computes what one `ack` with `multiple` may cover while handlers finish in any order: the longest unbroken run of
 * settlements from the channel's first delivery on. Delivery tags count from 1 on each channel (AMQP 0-9-1, "basic.ack").
 */
export interface SettledPrefix {
  settle(tag: number, settlement: Settlement): void;
  /** The tag to acknowledge up to and how many messages that covers, or undefined when there is nothing new to acknowledge. */
  takeAck(): { upTo: number; messages: number } | undefined;
}

export function createSettledPrefix(): SettledPrefix {
  const ahead = new Map<number, Settlement>();
  let firstUnsettled = 1;
  let ackable = 0;
  let messages = 0;

  return {
    settle(tag, settlement) {
      ahead.set(tag, settlement);
      for (let next = ahead.get(firstUnsettled); next !== undefined; next = ahead.get(firstUnsettled)) {
        // Never a requeued tag: it is already back in the queue, and the broker would close the channel for an unknown tag.
        if (next === 'ack') {
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
