import Type from 'typebox';
import { route } from '../route.ts';
import { Count, Time } from '../schemas.ts';
import { isoTime } from '../time-range.ts';
import { bottlenecks } from './bottleneck.ts';

const orNull = <S extends Type.TSchema>(schema: S, description: string) =>
  Type.Union([schema, Type.Null()], { description });
const Rate = (description: string) => orNull(Type.Number(), description);

const Queue = Type.Object(
  {
    name: Type.String(),
    ready: Count,
    unacked: orNull(Count, 'Delivered and unacknowledged; null while only AMQP answers, which does not count them'),
    readingsEstimate: orNull(
      Count,
      "Estimate of the readings in ready and unacked messages, from the queue's bytes and the size of the messages that workers handled last; null where unknown, and for queues other than telemetry.persist",
    ),
    consumers: Count,
    rates: Type.Object(
      { in: Rate('Published'), out: Rate('Acknowledged or expired'), net: Rate('Negative while the queue shrinks') },
      { description: 'Messages per second' },
    ),
    oldest: Type.Object({
      ageSeconds: orNull(Type.Number({ minimum: 0 }), 'Age of the oldest message; null where unknown'),
      atLeast: Type.Boolean({ description: 'The age is a lower bound' }),
      atMost: Type.Boolean({
        description:
          'The age is an upper bound; usually it is too high by at most the interval of edge reports (5 s by default)',
      }),
      source: orNull(
        Type.Enum(['worker', 'reports', 'observed']),
        '`worker`: the worker that holds the head of the queue; `reports`: no consumers, and the newest edge report that has left the queue is this old; `observed`: how long query-api has seen no consumers',
      ),
    }),
    drain: Type.Object({
      seconds: orNull(
        Type.Number({ minimum: 0 }),
        'Until the queue is empty at the present rates; null while it does not shrink',
      ),
      reason: Type.String(),
    }),
    bounds: Type.Object({
      messagesMax: orNull(Count, 'Messages at which the broker refuses more'),
      bytesMax: orNull(Count, 'Bytes at which the broker refuses more'),
      fullness: orNull(Type.Number({ minimum: 0 }), 'Share of the nearest bound, 0 to 1'),
    }),
    bottleneck: Type.Object({ verdict: Type.Enum([...bottlenecks]), why: Type.String() }),
  },
  { title: 'Queue' },
);

const Queues = Type.Object(
  {
    asOf: Time,
    source: Type.Enum(['management', 'amqp'], {
      description: '`amqp`: the management API is unavailable, and fewer members are known',
    }),
    alarms: Type.Array(Type.String(), { description: "Alarms of the broker's nodes" }),
    workers: Type.Object({
      answering: Type.Integer({ minimum: 0 }),
      holding: Type.Integer({ minimum: 0, description: 'Workers that pause until Postgres is available' }),
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
    summary: 'Depth, rates, age and bottleneck of each queue',
    description:
      "The broker's own counts, up to five seconds old. While the management API is unavailable, they come over AMQP, which counts ready messages and consumers only.",
    roles: ['operator', 'admin'],
    success: { status: 200, description: 'All telemetry queues', schema: Queues },
    handler: async (_call, { queues }) => {
      const { at, source, alarms, workers, queues: list } = await queues.read();
      return {
        asOf: isoTime(at),
        source,
        alarms: [...alarms],
        workers: { answering: workers.length, holding: workers.filter(({ holding }) => holding).length },
        data: list.map(
          ({ name, ready, unacked, consumers, inRate, outRate, netRate, readings, oldest, drain, ...queue }) => ({
            name,
            ready,
            unacked,
            readingsEstimate: readings,
            consumers,
            rates: { in: inRate, out: outRate, net: netRate },
            oldest: {
              ageSeconds: oldest.seconds,
              atLeast: oldest.atLeast,
              atMost: oldest.atMost,
              source: oldest.source,
            },
            drain,
            bounds: { messagesMax: queue.messagesMax, bytesMax: queue.bytesMax, fullness: queue.fullness },
            bottleneck: queue.bottleneck,
          }),
        ),
      };
    },
  }),
];
