import Type, { type Static } from 'typebox';
import { parserOf } from './schema-issue.ts';

const MessageSize = Type.Object({
  bytesPerMessage: Type.Number({ minimum: 0 }),
  bytesPerReading: Type.Number({ exclusiveMinimum: 0 }),
});
export type MessageSize = Static<typeof MessageSize>;

/** Answer of `GET /state` of a persistence-worker. */
export const WorkerState = Type.Object({
  /** The worker consumes from the work queue. */
  subscribed: Type.Boolean(),
  /** Consumption is held because Postgres cannot write. */
  holding: Type.Boolean(),
  writersBusy: Type.Integer({ minimum: 0 }),
  writersMax: Type.Integer({ minimum: 1 }),
  /**
   * When the oldest reading that the worker holds was received at the edge, epoch milliseconds. The queue is first in, first out: readings
   * still queued are younger. Null: the worker holds none.
   */
  oldestArrivalAt: Type.Union([Type.Integer(), Type.Null()]),
  /**
   * About the messages handled most recently: a message of n readings has about `bytesPerMessage` + n × `bytesPerReading`. Null or absent: not
   * known.
   */
  messageSize: Type.Optional(Type.Union([MessageSize, Type.Null()])),
});
export type WorkerState = Static<typeof WorkerState>;

export const parseWorkerState = parserOf(WorkerState);
