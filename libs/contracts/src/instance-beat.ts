import Type, { type Static } from 'typebox';
import { parserOf } from './schema-issue.ts';

export const instanceBeatType = 'instance.beat';

export const services = ['ingest-ws', 'persistence-worker', 'query-api'] as const;

const Count = Type.Integer({ minimum: 0 });

/** Which process it is; the same for as long as it runs. */
const identity = {
  service: Type.Enum([...services]),
  /** Of ingest-ws the one of its edge reports. */
  instanceId: Type.String({ minLength: 1, maxLength: 64 }),
  /** INSTANCE_NAME, or the name of the host. */
  name: Type.String({ minLength: 1, maxLength: 255 }),
  version: Type.String({ maxLength: 64 }),
  /** Epoch milliseconds, by the clock of its host. */
  startedAt: Type.Integer(),
};

/** What an instance does now. */
const activity = {
  /** Its work goes on: an edge can acknowledge readings, a worker can write. */
  isWorking: Type.Boolean(),
  /** Since its start: readings acknowledged (ingest-ws) or stored (persistence-worker), calls (query-api). */
  handled: Count,
  /** Open sockets (ingest-ws). */
  sockets: Type.Optional(Count),
  /** Transactions under way, and at most (persistence-worker). */
  transactions: Type.Optional(Type.Object({ busy: Count, max: Count })),
};

/** What each instance says of itself on the exchange of events: on each change of `isWorking` and `sockets`, and again before `ttlMs` is over. */
const InstanceBeat = Type.Object({
  type: Type.Literal(instanceBeatType),
  ...identity,
  ...activity,
  /** 0: it has drained and ends. */
  ttlMs: Count,
});
export type InstanceBeat = Static<typeof InstanceBeat>;
export type InstanceIdentity = Pick<InstanceBeat, keyof typeof identity>;
export type InstanceActivity = Pick<InstanceBeat, keyof typeof activity>;

export const parseInstanceBeat = parserOf(InstanceBeat);
