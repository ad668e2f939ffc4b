/** A handler's result: the message is safely stored elsewhere, or it must return to the queue. */
export type Verdict = 'done' | 'requeue';

/**
 * Computes what one `ack` with `multiple` may cover while handlers finish in any order: the longest unbroken run of
 * verdicts from the channel's first delivery on. Delivery tags count from 1 on each channel (AMQP 0-9-1, "basic.ack").
 */
export interface SettledPrefix {
  settle(tag: number, verdict: Verdict): void;
  /** The tag to acknowledge up to and how many messages that covers, or undefined when there is nothing new to acknowledge. */
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
        // Never a requeued tag: it is already back in the queue, and the broker would close the channel for an unknown tag.
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
