import type { Channel, ChannelModel, Options } from 'amqplib';
import { replyCode, replyCodes, TopologyMismatchError } from './errors.ts';

export interface ExchangeDeclaration {
  readonly name: string;
  readonly type: 'direct' | 'fanout' | 'topic';
  readonly alternateExchange?: string;
}

export interface QueueDeclaration {
  readonly name: string;
  readonly arguments: Readonly<Record<string, string | number | boolean>>;
}

export interface BindingDeclaration {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
}

/** All durable exchanges, queues and bindings of Fleetwire in its vhost. */
export interface Topology {
  readonly exchanges: readonly ExchangeDeclaration[];
  readonly queues: readonly QueueDeclaration[];
  readonly bindings: readonly BindingDeclaration[];
}

/**
 * Bounds of the queues. A queue keeps the bounds it was declared with;
 * to change one, delete the empty queue: docs/decisions/0011-queue-bounds-are-arguments.md
 */
export interface TopologyLimits {
  persistMessagesMax: number;
  persistBytesMax: number;
  /** Deliveries of one message without an acknowledgement before the broker itself dead-letters it. */
  persistDeliveriesMax: number;
  retryMessagesMax: number;
  retryBytesMax: number;
  deadMessagesMax: number;
  deadBytesMax: number;
  presenceMessagesMax: number;
  presenceBytesMax: number;
  commandResultsMessagesMax: number;
  commandResultsBytesMax: number;
  /** How long a message waits in the retry queue of each step. */
  retryDelaysMs: Readonly<Record<RetryStep, number>>;
}

export type RetryStep = '10s' | '1m' | '10m';

/** The retry steps, from the first to the last. */
export const retrySteps: readonly RetryStep[] = ['10s', '1m', '10m'];

export const exchanges = {
  telemetry: 'telemetry',
  unrouted: 'telemetry.unrouted',
  live: 'live',
  interest: 'live.interest',
  commands: 'commands',
  events: 'events',
  stored: 'stored',
  /** AMQP's nameless exchange: its routing key is a queue's name. */
  default: '',
} as const;

export const queues = {
  persist: 'telemetry.persist',
  dead: 'telemetry.dead',
  presence: 'presence.facts',
  commandResults: 'commands.results',
} as const;

export const routingKeys = {
  persist: 'persist',
  /** Commands to every edge: the one that holds the device answers. */
  edges: 'edges',
} as const;

/** Commands to one edge. */
export function edgeRoutingKey(edge: string): string {
  return `edge.${edge}`;
}

/** Outcomes of commands, also for the instance that waits for them. */
export function resultRoutingKey(replyTo: string | null): string {
  return `result.${replyTo ?? 'none'}`;
}

export function retryQueue(step: RetryStep): string {
  return `telemetry.retry.${step}`;
}

const MiB = 1024 * 1024;

export const defaultTopologyLimits: Readonly<TopologyLimits> = Object.freeze({
  persistMessagesMax: 1_000_000,
  persistBytesMax: 4096 * MiB,
  persistDeliveriesMax: 20,
  retryMessagesMax: 200_000,
  retryBytesMax: 512 * MiB,
  deadMessagesMax: 500_000,
  deadBytesMax: 1024 * MiB,
  presenceMessagesMax: 1_000_000,
  presenceBytesMax: 512 * MiB,
  commandResultsMessagesMax: 100_000,
  commandResultsBytesMax: 1024 * MiB,
  retryDelaysMs: Object.freeze({ '10s': 10_000, '1m': 60_000, '10m': 600_000 }),
});

// There is no dead-letter queue behind the dead-letter queue: at its delivery limit the broker would drop a dead letter. RabbitMQ 4
// limits deliveries to 20 by default, and not every version accepts "no limit" (-1).
const DEAD_DELIVERIES_MAX = 1_000_000_000;

/**
 * The topology as data. Sources: RabbitMQ documentation, "Quorum Queues" (length limit, poison message handling,
 * at-least-once dead-lettering), "Time-To-Live and Expiration", "Alternate Exchanges".
 */
export function fleetwireTopology(overrides: Partial<TopologyLimits> = {}): Topology {
  const limits = { ...defaultTopologyLimits, ...overrides };
  return Object.freeze({
    exchanges: [
      // Fanout without a queue, on purpose: a queue would count as a route, and the broker would confirm unroutable messages,
      // which are never stored, instead of returning them. docs/decisions/0010-unroutable-envelopes-are-returned.md
      { name: exchanges.unrouted, type: 'fanout' },
      { name: exchanges.telemetry, type: 'direct', alternateExchange: exchanges.unrouted },
      ...liveTopology.exchanges,
      { name: exchanges.commands, type: 'topic' },
      { name: exchanges.stored, type: 'direct' },
    ],
    queues: [
      {
        name: queues.persist,
        arguments: {
          ...boundedQuorum(limits.persistMessagesMax, limits.persistBytesMax),
          ...deadLetterTo(exchanges.default, queues.dead),
          'x-delivery-limit': limits.persistDeliveriesMax,
        },
      },
      ...retrySteps.map((step) => ({
        name: retryQueue(step),
        arguments: {
          ...boundedQuorum(limits.retryMessagesMax, limits.retryBytesMax),
          ...deadLetterTo(exchanges.telemetry, routingKeys.persist),
          'x-message-ttl': limits.retryDelaysMs[step],
        },
      })),
      {
        name: queues.dead,
        arguments: {
          ...boundedQuorum(limits.deadMessagesMax, limits.deadBytesMax),
          'x-delivery-limit': DEAD_DELIVERIES_MAX,
        },
      },
      {
        name: queues.presence,
        arguments: {
          ...boundedQuorum(limits.presenceMessagesMax, limits.presenceBytesMax),
          // One worker derives presence from all facts; another takes over when it is gone.
          'x-single-active-consumer': true,
          'x-delivery-limit': DEAD_DELIVERIES_MAX,
        },
      },
      {
        name: queues.commandResults,
        arguments: {
          ...boundedQuorum(limits.commandResultsMessagesMax, limits.commandResultsBytesMax),
          'x-delivery-limit': DEAD_DELIVERIES_MAX,
        },
      },
    ],
    bindings: [
      { queue: queues.persist, exchange: exchanges.telemetry, routingKey: routingKeys.persist },
      { queue: queues.commandResults, exchange: exchanges.commands, routingKey: resultRoutingKey('#') },
    ],
  } satisfies Topology);
}

/** The exchanges that connections of live data use. */
export const liveTopology: Topology = Object.freeze({
  exchanges: [
    { name: exchanges.live, type: 'topic' },
    { name: exchanges.interest, type: 'fanout' },
    { name: exchanges.events, type: 'topic' },
  ],
  queues: [],
  bindings: [],
} satisfies Topology);

function boundedQuorum(messagesMax: number, bytesMax: number) {
  return {
    'x-queue-type': 'quorum',
    'x-max-length': messagesMax,
    'x-max-length-bytes': bytesMax,
    // drop-head, the default, would drop acknowledged readings.
    'x-overflow': 'reject-publish',
  };
}

function deadLetterTo(exchange: string, routingKey: string) {
  return {
    'x-dead-letter-exchange': exchange,
    'x-dead-letter-routing-key': routingKey,
    // Needs reject-publish; without it the broker falls back to at-most-once.
    'x-dead-letter-strategy': 'at-least-once',
  };
}

/**
 * Declares what is missing and does not change what exists.
 *
 * @throws {TopologyMismatchError} when an entity exists with other arguments; the broker then closes the channel
 */
export async function assertTopology(channel: Channel, topology: Topology = fleetwireTopology()): Promise<void> {
  for (const { name, type, alternateExchange } of topology.exchanges) {
    const options: Options.AssertExchange = { durable: true };
    if (alternateExchange !== undefined) options.alternateExchange = alternateExchange;
    await explained(`exchange '${name}'`, channel.assertExchange(name, type, options));
  }
  for (const queue of topology.queues) {
    const options = { durable: true, arguments: { ...queue.arguments } };
    await explained(`queue '${queue.name}'`, channel.assertQueue(queue.name, options));
  }
  for (const { queue, exchange, routingKey } of topology.bindings) {
    await channel.bindQueue(queue, exchange, routingKey);
  }
}

/** For `onOpen` of a broker connection: asserts the topology on a separate channel. */
export function declareTopology(topology: Topology = fleetwireTopology()): (model: ChannelModel) => Promise<void> {
  return async (model) => {
    const channel = await model.createChannel();
    // The same error rejects the declaration that caused it, and is handled there.
    channel.on('error', () => {});
    await assertTopology(channel, topology);
    await channel.close();
  };
}

async function explained(entity: string, declaration: Promise<unknown>): Promise<void> {
  try {
    await declaration;
  } catch (error) {
    if (error instanceof Error && replyCode(error) === replyCodes.preconditionFailed) {
      throw new TopologyMismatchError(entity, /inequivalent arg '([^']+)'/.exec(error.message)?.[1], error);
    }
    throw error;
  }
}
