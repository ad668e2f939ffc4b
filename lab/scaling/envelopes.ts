import { type Tuning, production } from './assumptions.ts';
import { type Fleet, messagesPerSecond } from './fleet.ts';

export interface Envelopes {
  readonly perSecond: number;
  readonly readingsEach: number;
}

/**
 * The envelopes of a fleet's messages. More batchers make more and smaller envelopes.
 * @param batchers one per instance and queue
 */
export function envelopesOf(fleet: Fleet, batchers: number, { envelopeLingerMs }: Tuning): Envelopes {
  const messages = messagesPerSecond(fleet);
  const full = Math.max(1, production.envelopeReadingsMax / fleet.readingsPerMessage);
  const messagesEach = Math.min(full, gathered(messages / batchers, envelopeLingerMs));
  return { perSecond: messages / messagesEach, readingsEach: messagesEach * fleet.readingsPerMessage };
}

/**
 * @returns the mean size of a batch with random arrivals: a batch leaves a linger after the batch before it or, if nothing has arrived by
 * then, with the next arrival
 */
export function gathered(perSecond: number, lingerMs: number): number {
  const whileItLingers = (perSecond * lingerMs) / 1_000;
  return 1 + (whileItLingers + Math.expm1(-whileItLingers));
}
