import { createHash } from 'node:crypto';
import type { Delivery } from '@fleetwire/broker/delivery';
import { isolatedHeader } from '@fleetwire/broker/retry-headers';

/** Deliveries without a verdict after which a message is a suspect (architecture: "redelivered 3 times"). */
const suspectDeliveries = 3;

/**
 * Whether a message may be killing whoever handles it. The broker's count alone convicts nobody: it rises for every message that a
 * dying worker merely held. A suspect is tried by itself, and what counts is how many such trials came to no end.
 */
export function isSuspect({ deliveryCount, headers }: Delivery): boolean {
  return deliveryCount >= suspectDeliveries || headers[isolatedHeader] === true;
}

/** How to treat a suspect: by itself; broken into halves (a single reading: dead-lettered); or dead-lettered without being read. */
export type Trial = 'alone' | 'apart' | 'unread';

/**
 * @param unfinished earlier trials of this message that came to no end
 * @param isIsolated it is a half of a suspect, which has proved its harm already
 */
export function trialOf({ unfinished, isIsolated }: { unfinished: number; isIsolated: boolean }): Trial {
  const aloneTrials = isIsolated ? 1 : 2;
  if (unfinished < aloneTrials) return 'alone';
  return unfinished === aloneTrials ? 'apart' : 'unread';
}

/** Under which name trials of a message are remembered. */
export function suspectId({ messageId, content }: Delivery): string {
  return messageId ?? createHash('sha256').update(content).digest('hex');
}
