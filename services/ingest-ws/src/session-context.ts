import type { Claims } from '@fleetwire/contracts/access';
import type { AwaitingStored } from './awaiting-stored.ts';
import type { Admission } from './admission.ts';
import type { ControlContext } from './command-frames.ts';
import type { DeviceHolders } from './device-holders.ts';
import type { EdgeCommands } from './edge-commands.ts';
import type { Intake } from './intake.ts';
import type { IngestMetrics } from './metrics.ts';
import type { PlainContext } from './plain-greeting.ts';
import type { LiveContext } from './subscription-frames.ts';
import type { AckSchedule, Outbound } from './outbound.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import type { SessionStreams, Stream } from './session-streams.ts';
import type { StoredAnswers } from './stored-answers.ts';
import type { StreamHistory } from './stream-history.ts';
import type { SubjectShare, SubjectShares } from './subject-shares.ts';

interface SessionLimits {
  readonly payloadBytesMax: number;
  readonly inFlightMax: number;
  readonly socketBytesInFlightMax: number;
  readonly pendingResendsMax: number;
  readonly outboundBytesMax: number;
  readonly heartbeatIntervalMs: number;
  readonly malformedFramesInARowMax: number;
  readonly unproductiveFramesPerSecondMax: number;
}

/** What all sessions share. */
export interface SessionContext {
  readonly admission: Admission;
  readonly outcomes: ReadingOutcomes;
  readonly intake: Intake;
  readonly shares: SubjectShares;
  readonly history: StreamHistory;
  readonly ackSchedule: AckSchedule;
  readonly live: LiveContext;
  readonly holders: DeviceHolders;
  readonly commands: EdgeCommands;
  readonly controls: ControlContext;
  readonly awaiting: AwaitingStored;
  readonly plain: PlainContext;
  readonly metrics: IngestMetrics;
  readonly limits: SessionLimits;
}

/** What the handlers of a session's frames share. The session implements it itself, to save an object for each of 10,000 sockets. */
export interface SessionParts {
  readonly id: string;
  /** Grows with each session: of two, the greater is newer. */
  readonly ordinal: number;
  readonly claims: Claims;
  /** The epoch of readings whose frame names none. */
  readonly epoch: string;
  /** The client speaks the plain dialect. */
  readonly isPlain: boolean;
  readonly outbound: Outbound;
  readonly streams: SessionStreams;
  readonly share: SubjectShare;
  readonly context: SessionContext;
  /** Where the socket was opened with `acks=stored`. */
  readonly stored: StoredAnswers | undefined;
  /** Has the acks sent that are due after a change of this stream. */
  scheduleAck(stream: Stream): void;
}
