import { type Tuning, production } from './assumptions.ts';
import { type Fleet, messagesPerSecond } from './fleet.ts';

export interface Envelopes {
  readonly perSecond: number;
  readonly readingsEach: number;
}

/**
 * What becomes of a fleet's messages where so many batchers gather them, one for each instance and queue. More batchers make more and
 * smaller envelopes.
 */
export function envelopesOf(fleet: Fleet, batchers: number, { envelopeLingerMs }: Tuning): Envelopes {
  const messages = messagesPerSecond(fleet);
  const full = Math.max(1, production.envelopeReadingsMax / fleet.readingsPerMessage);
  const messagesEach = Math.min(full, gathered(messages / batchers, envelopeLingerMs));
  return { perSecond: messages / messagesEach, readingsEach: messagesEach * fleet.readingsPerMessage };
}

/**
 * In one batch of what comes at random moments: a batch leaves a linger after the one before or, where nothing has come by then, with the
 * next that comes.
 */
export function gathered(perSecond: number, lingerMs: number): number {
  const whileItLingers = (perSecond * lingerMs) / 1_000;
  return 1 + (whileItLingers + Math.expm1(-whileItLingers));
}
