import Type from 'typebox';
import { route } from './route.ts';
import { freshness, Time } from './schemas.ts';
import { isoTime } from './time-range.ts';

const RowCount = Type.Object(
  { count: Type.Integer({ minimum: 0 }), exact: Type.Boolean({ description: 'False: an estimate, or a floor' }) },
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
          unacknowledged: Type.Integer({ minimum: 0 }),
        }),
        { description: 'Depths as the broker counts them, up to five seconds old' },
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
      { description: 'What is stored; null when the database has not answered since this service started' },
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
    summary: 'How every dependency is, and what is stored',
    description: 'Answers 200 also while dependencies are away: their state is the answer.',
    roles: ['analyst', 'operator', 'admin'],
    success: { status: 200, description: 'The report', schema: Status },
    handler: async ({ now }, { status }) => {
      const { database, broker, circuits, store } = await status.read();
      const { checkedAt, ...databaseState } = database;
      return {
        time: isoTime(now),
        database: { ...databaseState, ...(checkedAt !== undefined && { checkedAt: isoTime(checkedAt) }) },
        broker: { ...broker, queues: [...broker.queues] },
        circuits: [...circuits],
        store: store
          ? {
              ...store.value,
              lastReceivedAt: store.value.lastReceivedAt === null ? null : isoTime(store.value.lastReceivedAt),
              asOf: isoTime(store.asOf),
              stale: store.stale,
            }
          : null,
      };
    },
  }),
];
