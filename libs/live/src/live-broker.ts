import { type BrokerConnection, type BrokerLogger } from '@fleetwire/broker/connection';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { createPublisher } from '@fleetwire/broker/publisher';
import { exchanges } from '@fleetwire/broker/topology';
import { transientJson } from '@fleetwire/broker/transient-json';
import { type CommandChanged, commandChangedType, decodeCommandChanged } from '@fleetwire/contracts/command-event';
import { type DeviceEventMessage, decodeDeviceEvent, deviceEventTypes } from '@fleetwire/contracts/device-event';
import {
  type Interest,
  type InterestQuestion,
  type LiveMessage,
  liveTypes,
  parseInterest,
  parseLiveMessage,
} from '@fleetwire/contracts/live-message';
import { type PresenceChanged, decodePresenceChanged, presenceChangedType } from '@fleetwire/contracts/presence-event';

export interface LiveBrokerOptions {
  /** A connection of its own: live data that backs up must not delay envelopes and their confirms. */
  readonly connection: BrokerConnection;
  readonly logger: BrokerLogger;
  /** Live messages without the broker's confirm; with more, live data is skipped. */
  readonly outboundBytesMax: number;
  readonly queueMessagesMax: number;
  readonly queueBytesMax: number;
}

export type LiveEvent = DeviceEventMessage | PresenceChanged | CommandChanged;

const eventDecoders = [decodePresenceChanged, decodeCommandChanged, decodeDeviceEvent] as const;

/** Every watching instance hears it on the exchange of live data. */
const questionKey = 'live.interest-asked';
const messagesInFlightMax = 10_000;
const confirmTimeoutMs = 10_000;
const interestMessagesMax = 1_000;
const eventMessagesMax = 10_000;
const mebibyte = 1024 * 1024;

/** The exchanges and queues of live data, for both sides. Messages may be lost; `prev` in the next one reveals it. */
export class LiveBroker {
  readonly #options: LiveBrokerOptions;
  readonly #publisher: ReturnType<typeof createPublisher>;
  readonly #queues: { close(): Promise<void> }[] = [];

  constructor(options: LiveBrokerOptions) {
    const { connection, logger, outboundBytesMax } = options;
    this.#options = options;
    this.#publisher = createPublisher(connection, {
      logger,
      messagesInFlightMax,
      bytesInFlightMax: outboundBytesMax,
      confirmTimeoutMs,
    });
  }

  get isWritable(): boolean {
    return this.#publisher.writable;
  }

  /** @returns false when it was skipped: the broker does not take more now */
  publishLive(message: LiveMessage): boolean {
    const [first, ...others] = Object.keys(message.to);
    return first === undefined || this.#publish(exchanges.live, first, message, others);
  }

  announce(interest: Interest): boolean {
    return this.#publish(exchanges.interest, '', interest, []);
  }

  askForInterest(edge: string): boolean {
    const question: InterestQuestion = { type: liveTypes.question, edge };
    return this.#publish(exchanges.live, questionKey, question, []);
  }

  /** @param onBound the edge hears of all interest that is announced from now on */
  receiveInterest(edge: string, onInterest: (interest: Interest) => void, onBound: () => void): void {
    this.#consume(`live.interest.${edge}`, exchanges.interest, [''], interestMessagesMax, onBound, (content) => {
      const interest = parseInterest(parsed(content));
      if (interest.ok) onInterest(interest.value);
    });
  }

  receiveLive(
    instanceId: string,
    onMessage: (message: LiveMessage | InterestQuestion) => void,
    onBound: () => void,
  ): void {
    this.#consume(
      `live.w.${instanceId}`,
      exchanges.live,
      [instanceId, questionKey],
      this.#options.queueMessagesMax,
      onBound,
      (content) => {
        const message = parseLiveMessage(parsed(content));
        if (message.ok) onMessage(message.value);
      },
    );
  }

  /** Changes of the registry, of presence and of commands. Those that come while the connection is lost are lost: `onBound` is called after it, too. */
  receiveEvents(instanceId: string, onEvent: (event: LiveEvent) => void, onBound: () => void): void {
    this.#consume(
      `live.events.${instanceId}`,
      exchanges.events,
      [...deviceEventTypes, presenceChangedType, commandChangedType],
      this.#options.queueMessagesMax,
      onBound,
      (content) => {
        for (const decode of eventDecoders) {
          const event = decode(content);
          if (event.ok) return onEvent(event.value);
        }
      },
    );
  }

  /** Transient: what a receiver misses is not repeated. */
  publishTransient(routingKey: string, message: { readonly type: string }): boolean {
    return this.#publish(exchanges.events, routingKey, message, []);
  }

  /** @param name of the queue, unique to the receiver */
  receiveTransient(name: string, routingKey: string, onContent: (content: unknown) => void): void {
    this.#consume(
      name,
      exchanges.events,
      [routingKey],
      eventMessagesMax,
      () => {},
      (content) => onContent(parsed(content)),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#queues.map((queue) => queue.close()));
    await this.#publisher.close();
  }

  #publish(exchange: string, routingKey: string, message: { readonly type: string }, cc: readonly string[]): boolean {
    if (!this.#publisher.writable) return false;
    this.#publisher
      .publish({ ...transientJson(exchange, routingKey, message), ...(cc.length === 0 ? {} : { cc }) })
      // Lost: the receiver finds out by `prev`, or by the next announcement.
      .catch(() => {});
    return true;
  }

  #consume(
    namePrefix: string,
    exchange: string,
    routingKeys: readonly string[],
    messagesMax: number,
    onBound: () => void,
    onContent: (content: Buffer) => void,
  ): void {
    const { connection, logger, queueBytesMax } = this.#options;
    this.#queues.push(
      openPrivateQueue(connection, {
        logger,
        namePrefix,
        exchange,
        routingKeys,
        messagesMax,
        bytesMax: Math.max(queueBytesMax, mebibyte),
        onBound,
        onMessage: onContent,
      }),
    );
  }
}

function parsed(content: Buffer): unknown {
  return JSON.parse(content.toString('utf8'));
}
