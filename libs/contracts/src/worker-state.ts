import Type, { type Static } from 'typebox';
import { parserOf } from './schema-issue.ts';

/** `GET /state` of a persistence-worker: what it holds, and what it waits for. */
export const WorkerState = Type.Object({
  /** It takes from the work queue. */
  subscribed: Type.Boolean(),
  /** Consumption is held because Postgres cannot write. */
  holding: Type.Boolean(),
  writersBusy: Type.Integer({ minimum: 0 }),
  writersMax: Type.Integer({ minimum: 1 }),
  /**
   * When the oldest reading that it holds arrived at the edge, epoch milliseconds. The queue is first in, first out: what waits there is
   * younger. Null: it holds none.
   */
  oldestArrivalAt: Type.Union([Type.Integer(), Type.Null()]),
});
export type WorkerState = Static<typeof WorkerState>;

export const parseWorkerState = parserOf(WorkerState);
