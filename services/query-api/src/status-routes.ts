import { unavailable } from '@fleetwire/runtime/problem';
import { storeStatus } from '@fleetwire/store/readers';
import Type, { type Static } from 'typebox';
import { messagesIn } from './queues/queue-sample.ts';
import { type ApiContext, route } from './route.ts';
import { freshness, Time } from './schemas.ts';
import { isoTime } from './time-range.ts';

const RowCount = Type.Object(
  { count: Type.Integer({ minimum: 0 }), exact: Type.Boolean({ description: 'false: an estimate or a lower bound' }) },
  { title: 'RowCount' },
);

const Status = Type.Object(
  {
    time: Time,
    database: Type.Object({
      state: Type.Enum(['unknown', 'up', 'down']),
      latencyMs: Type.Optional(Type.Integer({ minimum: 0 })),
      error: Type.Optional(Type.String()),
      checkedAt: Type.Optional(Time),
    }),
    broker: Type.Object({
      state: Type.Enum(['up', 'down', 'not-configured']),
      error: Type.Optional(Type.String()),
      queues: Type.Array(
        Type.Object({
          name: Type.String(),
          messages: Type.Integer({ minimum: 0 }),
          unacknowledged: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
            description: 'null while the management API is unavailable: AMQP does not count them',
          }),
        }),
        { description: 'Queue depths as the broker counts them, up to five seconds old' },
      ),
    }),
    circuits: Type.Array(Type.Object({ name: Type.String(), state: Type.Enum(['closed', 'half-open', 'open']) })),
    store: Type.Union(
      [
        Type.Object({
          devices: RowCount,
          readings: RowCount,
          deadLetters: RowCount,
          lastReceivedAt: Type.Union([Time, Type.Null()]),
          ...freshness,
        }),
        Type.Null(),
      ],
      { description: 'What is stored; null if the database has not answered since query-api started' },
    ),
  },
  { title: 'Status' },
);

export const statusRoutes = [
  route({
    method: 'get',
    path: '/status',
    operationId: 'getStatus',
    tag: 'Status',
    summary: 'State of each dependency, and what is stored',
    description: 'Answers 200 also while dependencies are unavailable: their state is part of the report.',
    roles: ['analyst', 'operator', 'admin'],
    success: { status: 200, description: 'The report', schema: Status },
    handler: async ({ now }, api) => {
      const [store, broker] = await Promise.all([storedIn(api), brokerIn(api)]);
      const { checkedAt, ...database } = api.probe.state();
      return {
        time: isoTime(now),
        database: { ...database, ...(checkedAt !== undefined && { checkedAt: isoTime(checkedAt) }) },
        broker,
        circuits: api.circuits.map((circuit) => ({ name: circuit.name, state: circuit.state() })),
        store,
      };
    },
  }),
];

export async function storedIn({ probe, registry, lastStored }: ApiContext): Promise<Static<typeof Status>['store']> {
  const read = async () => {
    // The probe knows already: the report does not wait for a timeout.
    if (probe.state().state === 'down') throw unavailable('The database is unavailable', 1_000);
    return registry.run(storeStatus, {});
  };
  const answer = await lastStored.read('store', read).catch(() => undefined);
  if (answer === undefined) return null;
  const { value, asOf, stale } = answer;
  const lastReceivedAt = value.lastReceivedAt === null ? null : isoTime(value.lastReceivedAt);
  return { ...value, lastReceivedAt, asOf: isoTime(asOf), stale };
}

async function brokerIn({ queues }: ApiContext): Promise<Static<typeof Status>['broker']> {
  if (!queues.isConfigured) return { state: 'not-configured', queues: [] };
  try {
    const { queues: list } = await queues.read();
    const depths = list.map((queue) => ({
      name: queue.name,
      messages: messagesIn(queue),
      unacknowledged: queue.unacked,
    }));
    return { state: 'up', queues: depths };
  } catch (error) {
    return { state: 'down', error: (error as Error).message, queues: [] };
  }
}
