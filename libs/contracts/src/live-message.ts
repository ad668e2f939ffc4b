import Type, { type Static } from 'typebox';
import { EnvelopeRun } from './envelope.ts';
import { parserOf } from './schema-issue.ts';

/** Names an instance of a service for as long as its process lives. */
const InstanceId = Type.String({ minLength: 1, maxLength: 64 });
const Count = Type.Integer({ minimum: 0 });

export const liveTypes = {
  interest: 'live.interest',
  readings: 'live.readings',
  position: 'live.position',
  question: 'live.interest-asked',
} as const;

/**
 * What the subscribers of one instance watch, told to all edges: on each change, and again before `ttlMs` is over. `revision` grows with
 * each change.
 */
export const Interest = Type.Object({
  type: Type.Literal(liveTypes.interest),
  instanceId: InstanceId,
  revision: Count,
  ttlMs: Type.Integer({ minimum: 1 }),
  /** Everything; the lists are empty then. */
  all: Type.Boolean(),
  devices: Type.Array(Type.String()),
  patterns: Type.Array(Type.String()),
});
export type Interest = Static<typeof Interest>;

/**
 * For each instance that a live message goes to: the greatest number up to which it was told everything before this message, and the
 * revision of its interest that the edge has applied.
 */
const Recipients = Type.Record(Type.String(), Type.Object({ prev: Count, revision: Count }));
export type Recipients = Static<typeof Recipients>;

/** A run of an envelope; `source` is absent where the readings came on a WebSocket. */
export const LiveRun = Type.Object({ ...EnvelopeRun.properties, source: Type.Optional(Type.Literal('rest')) });
export type LiveRun = Static<typeof LiveRun>;

/**
 * From an edge to watching instances. `live.readings` carries what matches of its envelope `number`; `live.position` says that what
 * matches after `number` is published from now on.
 */
export const LiveMessage = Type.Object({
  type: Type.Union([Type.Literal(liveTypes.readings), Type.Literal(liveTypes.position)]),
  edge: InstanceId,
  number: Count,
  to: Recipients,
  runs: Type.Optional(Type.Array(LiveRun)),
});
export type LiveMessage = Static<typeof LiveMessage>;

/** From an edge that knows no interest yet to all watching instances: they announce theirs. */
const InterestQuestion = Type.Object({ type: Type.Literal(liveTypes.question), edge: InstanceId });
export type InterestQuestion = Static<typeof InterestQuestion>;

export const parseInterest = parserOf(Interest);
export const parseLiveMessage = parserOf(Type.Union([LiveMessage, InterestQuestion]));
