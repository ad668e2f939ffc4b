import { parserOf } from '@fleetwire/contracts/schema-issue';
import Type from 'typebox';
import type { QueueSample, QueueSource } from './queue-sample.ts';

const Rate = Type.Optional(Type.Object({ rate: Type.Number() }));

// A queue that was just declared has no counts yet, and an unused one has no statistics.
const parseQueues = parserOf(
  Type.Array(
    Type.Object({
      name: Type.String(),
      messages_ready: Type.Optional(Type.Integer()),
      messages_unacknowledged: Type.Optional(Type.Integer()),
      message_bytes: Type.Optional(Type.Integer()),
      messages_details: Rate,
      consumers: Type.Optional(Type.Integer()),
      message_stats: Type.Optional(Type.Object({ publish_details: Rate, ack_details: Rate })),
      arguments: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      effective_policy_definition: Type.Optional(Type.Unknown()),
    }),
  ),
);
const parseNodes = parserOf(
  Type.Array(
    Type.Object({
      name: Type.String(),
      mem_alarm: Type.Optional(Type.Boolean()),
      disk_free_alarm: Type.Optional(Type.Boolean()),
    }),
  ),
);

const queueColumns =
  'name,messages_ready,messages_unacknowledged,message_bytes,messages_details,consumers,message_stats,arguments,effective_policy_definition';
const nodeColumns = 'name,mem_alarm,disk_free_alarm';

/** RabbitMQ's management HTTP API (RabbitMQ, "HTTP API"). Its counts are up to five seconds old. */
export function managementSource({
  managementUrl,
  vhost,
}: {
  /** With user and password. */
  readonly managementUrl: string;
  readonly vhost: string;
}): QueueSource {
  const { origin, username, password } = new URL(managementUrl);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const ask = (path: string, signal: AbortSignal): Promise<Response> =>
    fetch(`${origin}/api/${path}`, { headers: { authorization: `Basic ${credentials}` }, signal });

  const queues = async (signal: AbortSignal): Promise<QueueSample[]> => {
    const response = await ask(`queues/${encodeURIComponent(vhost)}?columns=${queueColumns}`, signal);
    if (!response.ok) throw new Error(`the management API answered ${response.status}`);
    const list = parseQueues(await response.json());
    if (!list.ok) throw new Error(`the management API's answer has an unexpected form: ${list.issue.message}`);
    return list.value.filter(({ name }) => name.startsWith('telemetry.')).map(toSample);
  };
  const alarms = async (signal: AbortSignal): Promise<string[]> => {
    const response = await ask(`nodes?columns=${nodeColumns}`, signal);
    // Only users tagged "monitoring" may list nodes; other users still get the queues.
    const nodes = response.ok ? parseNodes(await response.json()) : undefined;
    if (!nodes?.ok) return [];
    return nodes.value.flatMap(({ name, mem_alarm, disk_free_alarm }) => [
      ...(mem_alarm ? [`${name} raised its memory alarm`] : []),
      ...(disk_free_alarm ? [`${name} raised its disk alarm`] : []),
    ]);
  };

  return {
    sample: async (signal) => {
      const [listed, raised] = await Promise.all([queues(signal), alarms(signal)]);
      return { source: 'management', at: Date.now(), queues: listed, alarms: raised };
    },
  };
}

/** The virtual host that an AMQP URL names (RabbitMQ, "URI specification"). */
export function vhostOf(amqpUrl: string | undefined): string {
  const path = amqpUrl === undefined ? '' : new URL(amqpUrl).pathname;
  return path.length > 1 ? decodeURIComponent(path.slice(1)) : '/';
}

type Listed = Extract<ReturnType<typeof parseQueues>, { ok: true }>['value'][number];

function toSample(queue: Listed): QueueSample {
  const { name, messages_ready: ready = 0, messages_unacknowledged: unacked = 0, consumers = 0 } = queue;
  const published = queue.message_stats?.publish_details?.rate ?? 0;
  const net = queue.messages_details?.rate ?? 0;
  return {
    name,
    ready,
    unacked,
    consumers,
    inRate: published,
    // Messages also leave when their TTL expires; the broker has no rate for those.
    outRate: consumers > 0 ? (queue.message_stats?.ack_details?.rate ?? 0) : Math.max(0, published - net),
    netRate: net,
    bytes: queue.message_bytes ?? null,
    messagesMax: bound(queue, 'max-length'),
    bytesMax: bound(queue, 'max-length-bytes'),
  };
}

/** The lower of queue argument and policy, as the broker applies them. */
function bound({ arguments: own = {}, effective_policy_definition: policy }: Listed, name: string): number | null {
  const values = [own[`x-${name}`], (policy as Record<string, unknown> | undefined)?.[name]];
  const bounds = values.filter((value) => typeof value === 'number');
  return bounds.length === 0 ? null : Math.min(...bounds);
}
