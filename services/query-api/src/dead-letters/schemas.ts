import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import type * as stored from '@fleetwire/store/dead-letters/browse';
import { type Replay as StoredReplay, replaySources, replayStates } from '@fleetwire/store/dead-letters/replays';
import { deadLetterStatuses } from '@fleetwire/store/dead-letters/selection';
import Type, { type Static } from 'typebox';
import { Count, Time } from '../schemas.ts';
import { isoTime } from '../time-range.ts';
import { PayloadView, showPayload } from './show-payload.ts';

const Status = Type.Enum([...deadLetterStatuses], {
  description:
    'open: needs a decision; replaying: published again, the outcome is not known yet; stored: its identity is stored; discarded: an operator discarded it',
});
const Reason = Type.Enum([...deadLetterReasons]);
const TextOrNull = Type.Union([Type.String(), Type.Null()]);

export const DeadLetter = Type.Object(
  {
    id: Type.String(),
    status: Status,
    reason: Reason,
    error: Type.Object({ code: Type.String(), message: Type.String() }),
    fingerprint: Type.String({ description: 'Equal for failures of the same kind' }),
    deviceId: TextOrNull,
    epoch: TextOrNull,
    seq: Type.Union([Type.Integer(), Type.Null()]),
    attempts: Type.Integer({
      minimum: 1,
      description: 'The largest number of attempts at one message that carried it',
    }),
    firstFailedAt: Time,
    lastFailedAt: Time,
    arrivedAt: Type.String({ format: 'date-time', description: 'When it first arrived in the dead-letter store' }),
    replays: Type.Integer({ minimum: 0, description: 'How often it was replayed' }),
    automaticReplays: Type.Integer({ minimum: 0, description: 'How many of these replays were automatic' }),
    repeated: Type.Integer({ minimum: 0, description: 'How often it failed again after a replay' }),
    payloadBytes: Count,
  },
  { title: 'DeadLetter' },
);

export const DeadLetterEvent = Type.Object(
  {
    at: Time,
    actor: Type.String({ description: "The subject of the caller's token" }),
    action: Type.String({
      description:
        'replay-requested, dry-run, replay-cancelled, edited, discarded, restored; in the history of a dead letter also replayed',
    }),
    deadLetterId: TextOrNull,
    replayId: TextOrNull,
    details: Type.Record(Type.String(), Type.Unknown()),
  },
  { title: 'DeadLetterEvent' },
);

export const DeadLetterDetails = Type.Object(
  {
    ...DeadLetter.properties,
    receivedAt: Type.Union([Time, Type.Null()], { description: 'When ingest-ws received the reading' }),
    headers: Type.Record(Type.String(), Type.Unknown(), { description: 'AMQP headers of the message that carried it' }),
    payload: PayloadView,
    history: Type.Array(DeadLetterEvent, { description: 'Decisions and replays, newest first' }),
  },
  { title: 'DeadLetterDetails' },
);

export const DeadLetterGroup = Type.Object(
  {
    fingerprint: Type.String(),
    reason: Reason,
    errorCode: Type.String(),
    count: Count,
    byStatus: Type.Object({ open: Count, replaying: Count, stored: Count, discarded: Count }),
    repeated: Type.Integer({ minimum: 0, description: 'Failures after a replay' }),
    devices: Count,
    firstSeenAt: Time,
    lastSeenAt: Time,
    example: Type.Object({ id: Type.String(), message: Type.String(), deviceId: TextOrNull }),
  },
  { title: 'DeadLetterGroup' },
);

export const Replay = Type.Object(
  {
    id: Type.String(),
    source: Type.Enum([...replaySources]),
    state: Type.Enum([...replayStates], {
      description:
        'queued → running → settling (all published, some outcomes not known yet) → done; or cancelled; dry-run: counted only, published nothing',
    }),
    createdBy: Type.String(),
    createdAt: Time,
    finishedAt: Type.Union([Time, Type.Null()]),
    selection: Type.Record(Type.String(), Type.Unknown(), {
      description: 'The dead letters that it replays; times in epoch milliseconds',
    }),
    ratePerSecond: Type.Number(),
    counts: Type.Object({
      matched: Type.Integer({ minimum: 0, description: 'Largest number of dead letters it publishes' }),
      queued: Type.Integer({ minimum: 0, description: 'Not published yet' }),
      published: Type.Integer({ minimum: 0, description: 'Confirmed by the broker' }),
      stored: Type.Integer({ minimum: 0, description: 'Their identity is stored' }),
      failedAgain: Count,
      unknown: Type.Integer({
        minimum: 0,
        description: 'Messages without an identity that have not failed again',
      }),
      pending: Type.Integer({ minimum: 0, description: 'Published, the outcome is not known yet' }),
    }),
  },
  { title: 'DeadLetterReplay' },
);

export function presentDeadLetter(letter: stored.DeadLetterSummary): Static<typeof DeadLetter> {
  const { id, status, reason, errorCode, errorMessage, fingerprint, deviceId, epoch, seq } = letter;
  const { attempts, replays, automaticReplays, repeated, payloadBytes } = letter;
  return {
    id,
    status,
    reason,
    error: { code: errorCode, message: errorMessage },
    fingerprint,
    deviceId,
    epoch,
    seq,
    attempts,
    firstFailedAt: isoTime(letter.firstFailedAt),
    lastFailedAt: isoTime(letter.lastFailedAt),
    arrivedAt: isoTime(letter.createdAt),
    replays,
    automaticReplays,
    repeated,
    payloadBytes,
  };
}

export function presentDetails(
  letter: stored.StoredDeadLetter,
  history: readonly stored.DeadLetterEvent[],
): Static<typeof DeadLetterDetails> {
  return {
    ...presentDeadLetter(letter),
    receivedAt: letter.receivedAt === null ? null : isoTime(letter.receivedAt),
    headers: { ...letter.headers },
    payload: showPayload(letter),
    history: history.map(presentEvent),
  };
}

export function presentEvent(event: stored.DeadLetterEvent): Static<typeof DeadLetterEvent> {
  const { at, actor, action, deadLetterId, replayId, details } = event;
  return { at: isoTime(at), actor, action, deadLetterId, replayId, details: { ...details } };
}

export function presentGroup(group: stored.DeadLetterGroup): Static<typeof DeadLetterGroup> {
  const { exampleId, exampleMessage, exampleDeviceId, firstSeenAt, lastSeenAt, byStatus, ...rest } = group;
  return {
    ...rest,
    byStatus: { ...byStatus },
    firstSeenAt: isoTime(firstSeenAt),
    lastSeenAt: isoTime(lastSeenAt),
    example: { id: exampleId, message: exampleMessage, deviceId: exampleDeviceId },
  };
}

export function presentReplay(replay: StoredReplay): Static<typeof Replay> {
  const { id, source, state, createdBy, createdAt, finishedAt, selection, ratePerSecond } = replay;
  const { matched, published, stored, failedAgain, unknown } = replay;
  const isPublishing = state === 'queued' || state === 'running';
  return {
    id,
    source,
    state,
    createdBy,
    createdAt: isoTime(createdAt),
    finishedAt: finishedAt === null ? null : isoTime(finishedAt),
    selection: { ...selection },
    ratePerSecond,
    counts: {
      matched,
      queued: isPublishing ? matched - published : 0,
      published,
      stored,
      failedAgain,
      unknown,
      pending: published - stored - failedAgain - unknown,
    },
  };
}
