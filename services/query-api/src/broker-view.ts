import Type from 'typebox';
import { Compile } from 'typebox/compile';

export interface QueueDepth {
  readonly name: string;
  readonly messages: number;
  readonly unacknowledged: number;
}

export interface BrokerView {
  /** Depths of the queues that start with `telemetry.`; rejects when the broker does not answer in time. */
  queues(): Promise<readonly QueueDepth[]>;
}

export interface BrokerViewOptions {
  /** With user and password. */
  readonly managementUrl: string;
  readonly vhost: string;
  readonly timeoutMs: number;
}

// A queue that was declared a moment ago has no counts yet.
const Queues = Type.Array(
  Type.Object({
    name: Type.String(),
    messages: Type.Optional(Type.Integer()),
    messages_unacknowledged: Type.Optional(Type.Integer()),
  }),
);
const listed = Compile(Queues);

/** Queue depths by RabbitMQ's management HTTP API; its counts lag behind by up to five seconds. */
export function createBrokerView({ managementUrl, vhost, timeoutMs }: BrokerViewOptions): BrokerView {
  const { origin, username, password } = new URL(managementUrl);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  // Totals without rates: cheap for the broker however many queues there are.
  const target = `${origin}/api/queues/${encodeURIComponent(vhost)}?disable_stats=true&enable_queue_totals=true`;

  return {
    queues: async () => {
      const response = await fetch(target, {
        headers: { authorization: `Basic ${credentials}` },
        signal: AbortSignal.timeout(timeoutMs),
      });
      if (!response.ok) throw new Error(`the management API answered ${response.status}`);
      const list: unknown = await response.json();
      if (!listed.Check(list)) throw new Error('the management API answered in a form we do not know');
      return list
        .filter(({ name }) => name.startsWith('telemetry.'))
        .map(({ name, messages = 0, messages_unacknowledged = 0 }) => ({
          name,
          messages,
          unacknowledged: messages_unacknowledged,
        }));
    },
  };
}

/** The virtual host an AMQP URL names (RabbitMQ URI specification). */
export function vhostOf(amqpUrl: string | undefined): string {
  const path = amqpUrl === undefined ? '' : new URL(amqpUrl).pathname;
  return path.length > 1 ? decodeURIComponent(path.slice(1)) : '/';
}
