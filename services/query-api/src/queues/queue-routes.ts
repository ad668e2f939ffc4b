import Type from 'typebox';
import { route } from '../route.ts';
import { Time } from '../schemas.ts';
import { isoTime } from '../time-range.ts';
import { bottlenecks } from './bottleneck.ts';

const Count = Type.Integer({ minimum: 0 });
const orNull = <S extends Type.TSchema>(schema: S, description: string) =>
  Type.Union([schema, Type.Null()], { description });
const Rate = (description: string) => orNull(Type.Number(), description);

const Queue = Type.Object(
  {
    name: Type.String(),
    ready: Count,
    unacked: orNull(Count, 'In the hands of consumers; null where the source does not tell'),
    consumers: Count,
    rates: Type.Object(
      { in: Rate('Published'), out: Rate('Acknowledged, or run out of time'), net: Rate('Negative while it shrinks') },
      { description: 'Messages per second' },
    ),
    oldest: Type.Object({
      ageSeconds: orNull(Type.Number({ minimum: 0 }), 'Age of the oldest message; null where nobody knows'),
      atLeast: Type.Boolean({ description: 'It may be older than that' }),
      source: orNull(Type.Enum(['worker', 'observed']), 'A worker that holds the head of the queue, or what we saw'),
    }),
    drain: Type.Object({
      seconds: orNull(
        Type.Number({ minimum: 0 }),
        'Until it is empty at the present rates; null while it does not shrink',
      ),
      reason: Type.String(),
    }),
    bounds: Type.Object({
      messagesMax: orNull(Count, 'Messages that fill it'),
      bytesMax: orNull(Count, 'Bytes that fill it'),
      fullness: orNull(Type.Number({ minimum: 0 }), '0 to 1, of the bound that is nearest'),
    }),
    bottleneck: Type.Object({ verdict: Type.Enum([...bottlenecks]), why: Type.String() }),
  },
  { title: 'Queue' },
);

const Queues = Type.Object(
  {
    asOf: Time,
    source: Type.Enum(['management', 'amqp'], { description: '`amqp`: the management API is away, and less is known' }),
    alarms: Type.Array(Type.String(), { description: "Alarms of the broker's nodes" }),
    workers: Type.Object({
      answering: Type.Integer({ minimum: 0 }),
      holding: Type.Integer({ minimum: 0, description: 'Workers that wait for Postgres' }),
    }),
    data: Type.Array(Queue),
  },
  { title: 'Queues' },
);

export const queueRoutes = [
  route({
    method: 'get',
    path: '/queues',
    operationId: 'listQueues',
    tag: 'Operations',
    summary: 'How deep the queues are, how fast they move, and where they are stuck',
    description:
      "Numbers are the broker's own and up to five seconds old. While its management API is away they come by AMQP, without what only that API knows.",
    roles: ['operator', 'admin'],
    success: { status: 200, description: 'All queues of the telemetry', schema: Queues },
    handler: async (_call, { queues }) => {
      const { at, source, alarms, workers, queues: list } = await queues.read();
      return {
        asOf: isoTime(at),
        source,
        alarms: [...alarms],
        workers: { answering: workers.length, holding: workers.filter(({ holding }) => holding).length },
        data: list.map(({ name, ready, unacked, consumers, inRate, outRate, netRate, oldest, drain, ...queue }) => ({
          name,
          ready,
          unacked,
          consumers,
          rates: { in: inRate, out: outRate, net: netRate },
          oldest: { ageSeconds: oldest.seconds, atLeast: oldest.atLeast, source: oldest.source },
          drain,
          bounds: { messagesMax: queue.messagesMax, bytesMax: queue.bytesMax, fullness: queue.fullness },
          bottleneck: queue.bottleneck,
        })),
      };
    },
  }),
];
