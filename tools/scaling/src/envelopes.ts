import { type Tuning, production } from './assumptions.ts';
import { type Fleet, messagesPerSecond } from './fleet.ts';

export type Envelopes = { readonly perSecond: number; readonly readingsEach: number };

/**
 * What becomes of a fleet's messages where so many batchers gather them, one for each instance and queue: the first message of an
 * envelope, and those that come while it lingers. More batchers make more and smaller envelopes.
 */
export function envelopesOf(fleet: Fleet, batchers: number, { envelopeLingerMs }: Tuning): Envelopes {
  const messages = messagesPerSecond(fleet);
  const lingering = 1 + (messages / batchers) * (envelopeLingerMs / 1_000);
  const full = Math.max(1, production.envelopeReadingsMax / fleet.readingsPerMessage);
  const messagesEach = Math.min(full, lingering);
  return { perSecond: messages / messagesEach, readingsEach: messagesEach * fleet.readingsPerMessage };
}
