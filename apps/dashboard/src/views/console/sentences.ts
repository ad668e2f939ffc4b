import { duration, plural } from '../../format.ts';
import type { Hop } from './hops.tsx';
import type { SentReading } from './sender.ts';
import { timeOfDay } from '../../times.ts';

/** How often the connection was resumed, and whether what was missed has come. */
export interface ResumeFacts {
  readonly times: number;
  readonly at: number | undefined;
  readonly lostForMs: number | undefined;
  /** Since the last time, the server has said that nothing is on its way any more. */
  readonly caughtUp: boolean;
  /** Readings that are known to be missing and come later. */
  readonly openGaps: number;
}

/** `once, 14:11:24, after 2.1 s: nothing missing` */
export function resumedText({ times, at, lostForMs, caughtUp, openGaps }: ResumeFacts): {
  readonly text: string;
  readonly verdict: string;
} {
  const verdict =
    openGaps > 0
      ? `${plural(openGaps, 'gap')} being filled`
      : times === 0
        ? ''
        : caughtUp
          ? 'nothing missing'
          : 'what was missed is on its way';
  if (times === 0) return { text: openGaps > 0 ? 'never: ' : 'never', verdict };
  const often = times === 1 ? 'once' : `${plural(times, 'time')}, last`;
  return { text: `${often} ${timeOfDay(at!)}, after ${duration(lostForMs ?? 0)}: `, verdict };
}

const elapsed = (ms: number) => (ms < 1_000 ? `${Math.max(1, Math.round(ms))} ms` : duration(ms));

/** @param behindMs how far storing is behind now, for what is not stored yet */
export function readingHops(reading: SentReading, behindMs: number | undefined): Hop[] {
  const { sentAt, receivedAt, confirmedAt, storedAt, failure } = reading;
  const hop = (label: string, at: number | undefined, waiting: string): Hop => ({
    label,
    note: at === undefined ? waiting : elapsed(at - sentAt),
    state: at === undefined ? (failure === undefined ? 'waiting' : 'failed') : 'done',
  });
  const estimate = behindMs !== undefined && behindMs > 2_000 ? `≈ ${duration(behindMs)}` : 'waiting';
  return [
    { label: 'sent', note: '', state: 'done' },
    hop('received', receivedAt, ''),
    hop('confirmed', confirmedAt, ''),
    failure !== undefined && storedAt === undefined
      ? { label: failure.startsWith('dead') ? 'dead letter' : 'refused', note: '', state: 'failed' }
      : hop('stored', storedAt, confirmedAt === undefined ? '' : estimate),
  ];
}

export interface CommandFacts {
  readonly sentAt: number;
  readonly state: string;
  readonly writtenAt: number | undefined;
  readonly deliveredAt: number | undefined;
  readonly finishedAt: number | undefined;
  readonly createdAt: number | undefined;
}

const failedStates = new Set(['failed', 'timed-out', 'expired', 'cancelled', 'refused']);

/** The way of a command; times are those of the server, from its creation on. */
export function commandHops({ state, createdAt, writtenAt, deliveredAt, finishedAt }: CommandFacts): Hop[] {
  const note = (at: number | undefined) => (at === undefined || createdAt === undefined ? '' : elapsed(at - createdAt));
  const failed = failedStates.has(state);
  const answered = state === 'succeeded';
  const open = failed ? 'failed' : 'waiting';
  return [
    { label: 'queued', note: '', state: createdAt === undefined ? open : 'done' },
    { label: 'sent', note: note(writtenAt), state: writtenAt === undefined ? open : 'done' },
    { label: 'delivered', note: note(deliveredAt), state: deliveredAt !== undefined || answered ? 'done' : open },
    {
      label: failed ? state : 'answered',
      note: note(finishedAt),
      state: failed ? 'failed' : answered ? 'done' : 'waiting',
    },
  ];
}
