import { commandFailures, type CommandMode, type CommandState } from './command.ts';

/** A command whose time has come, with what is known of its device. */
export interface DueCommand {
  readonly state: CommandState;
  readonly mode: CommandMode;
  /** Where the attempt in progress was published to; null before, and once it was written to a socket. */
  readonly dispatchedTo: 'edge' | 'edges' | null;
  readonly attempts: number;
  readonly isExpired: boolean;
  readonly isPastDeadline: boolean;
  /** That has the newest open session of the device. */
  readonly edge: string | null;
  /** By its presence. A device that never had a session of its own has none, and may be reached through a gateway. */
  readonly isOffline: boolean;
  /** That wrote the command to a socket. */
  readonly sentBy: string | null;
}

export type NextStep =
  | { readonly kind: 'dispatch'; readonly edge: string | null }
  /** Queued; tried again later, or when the device comes online. */
  | { readonly kind: 'postpone' }
  /** The edge is asked whether the session to which it wrote the command is open: it then reports `sent` again, and writes nothing. */
  | { readonly kind: 'ask'; readonly edge: string }
  /** Written to a session that is gone: back to `queued`. */
  | { readonly kind: 'requeue' }
  /** An answer is awaited until the deadline. */
  | { readonly kind: 'await' }
  | { readonly kind: 'end'; readonly state: CommandState; readonly code?: string; readonly message?: string };

/** A device that takes a command and ends its session each time may not be able to bear it. */
const attemptsMax = 10;

const offline: NextStep = {
  kind: 'end',
  state: 'failed',
  code: commandFailures.offline,
  message: 'no socket has this device',
};

/** A report that is late is not known here: an answer that follows is kept as `lateResult`. */
const unheard: NextStep = { ...offline, message: 'no instance has said in time that it has a socket of this device' };

/** What becomes of a command that is due. */
export function nextStep(command: DueCommand): NextStep {
  if (command.state !== 'queued') return nextOfSent(command);
  return command.mode === 'now' ? nextOfNow(command) : nextOfWhenOnline(command);
}

/**
 * Written to a socket: an answer is awaited until the deadline. In the mode `when-online` the device may not have got the command, as the edge
 * may have been killed: only an edge that still has the session lets it time out (outcomes.ts).
 */
function nextOfSent({ state, mode, attempts, isPastDeadline, dispatchedTo, sentBy }: DueCommand): NextStep {
  if (!isPastDeadline) return { kind: 'await' };
  if (mode === 'now' || state === 'delivered' || attempts >= attemptsMax) return { kind: 'end', state: 'timed-out' };
  return dispatchedTo === null && sentBy !== null ? { kind: 'ask', edge: sentBy } : { kind: 'requeue' };
}

function nextOfNow({ dispatchedTo, isPastDeadline, isOffline, edge }: DueCommand): NextStep {
  if (isPastDeadline) return { kind: 'end', state: 'timed-out' };
  if (dispatchedTo === 'edges') return unheard;
  if (dispatchedTo === 'edge') return { kind: 'dispatch', edge: null };
  return edge === null && isOffline ? offline : { kind: 'dispatch', edge };
}

function nextOfWhenOnline({ dispatchedTo, isExpired, attempts, isOffline, edge }: DueCommand): NextStep {
  if (isExpired) return { kind: 'end', state: 'expired' };
  if (attempts >= attemptsMax)
    return {
      kind: 'end',
      state: 'failed',
      code: commandFailures.tooManyAttempts,
      message: `the device got it ${attempts} times, and its session ended each time before it answered`,
    };
  if (dispatchedTo === 'edges') return { kind: 'postpone' };
  if (dispatchedTo === 'edge') return { kind: 'dispatch', edge: null };
  return edge === null && isOffline ? { kind: 'postpone' } : { kind: 'dispatch', edge };
}
