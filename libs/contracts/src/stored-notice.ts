import Type, { type Static } from 'typebox';
import { DeviceId, Epoch, Seq } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';

/**
 * AMQP header of an envelope with readings of devices that asked to hear when they are stored: the worker tells the edge which the position
 * names. Copies in retry queues and halves of a split message keep it; replays have none.
 */
export const storedNoticeHeader = 'x-fleetwire-stored-notice';
export const storedNoticeType = 'readings.stored';

/** A reading that became a dead letter; without an identity, all readings of its envelope that are not named. */
const DeadReading = Type.Object({
  number: Type.Integer(),
  deviceId: Type.Optional(Type.String()),
  epoch: Type.Optional(Type.String()),
  seq: Type.Optional(Type.Integer()),
  reason: Type.String(),
  message: Type.String(),
  deadLetterId: Type.Optional(Type.String()),
});
export type DeadReading = Static<typeof DeadReading>;

/** A duplicate whose content differs from the stored reading. */
const ConflictingReading = Type.Object({
  number: Type.Integer(),
  deviceId: Type.String(),
  epoch: Type.String(),
  seq: Type.Integer(),
});
export type ConflictingReading = Static<typeof ConflictingReading>;

/** From a worker to an edge: all readings of its envelopes with these numbers are stored, or named in `dead`. */
export const StoredNotice = Type.Object({
  type: Type.Literal(storedNoticeType),
  /** When the first of these envelopes was committed, epoch milliseconds. */
  committedAt: Type.Number(),
  numbers: Type.Array(Type.Integer({ minimum: 1 })),
  dead: Type.Array(DeadReading),
  conflicting: Type.Array(ConflictingReading),
});
export type StoredNotice = Static<typeof StoredNotice>;

export const parseStoredNotice = parserOf(StoredNotice);

/** Runs in one question to `POST /live/stored`, and numbers in all of them: the answer may have an entry for each number. */
export const storedQuestionLimits = Object.freeze({ runsMax: 500, numbersMax: 20_000 });

export const StoredQuestion = Type.Object(
  {
    runs: Type.Array(
      Type.Object({ deviceId: DeviceId, epoch: Epoch, first: Seq, last: Seq }, { additionalProperties: false }),
      {
        minItems: 1,
        maxItems: storedQuestionLimits.runsMax,
        description: `Consecutive numbers of streams, at most ${storedQuestionLimits.numbersMax} in all runs`,
      },
    ),
  },
  { additionalProperties: false, title: 'StoredQuestion' },
);
export type StoredQuestion = Static<typeof StoredQuestion>;

export const StoredAnswer = Type.Object(
  {
    runs: Type.Array(
      Type.Object({
        stored: Type.Array(Type.Tuple([Seq, Seq]), {
          description: 'First and last number of each range that is stored',
        }),
        dead: Type.Array(
          Type.Object({
            seq: Seq,
            reason: Type.String(),
            message: Type.String(),
            deadLetterId: Type.String(),
          }),
          { description: 'The newest dead letter of each number that is not stored' },
        ),
      }),
      { description: 'In the order of the question; numbers in neither list are in flight, or were never received' },
    ),
  },
  { title: 'StoredAnswer' },
);
export type StoredAnswer = Static<typeof StoredAnswer>;

export const parseStoredAnswer = parserOf(StoredAnswer);
