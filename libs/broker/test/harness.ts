import { randomUUID } from 'node:crypto';
import { connect, type Channel } from 'amqplib';
import { startFaultProxy, type FaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { afterEach, beforeEach, expect } from 'vitest';
import {
  openBrokerConnection,
  type BrokerConnection,
  type BrokerConnectionOptions,
  type BrokerLogger,
} from '../src/connection.ts';
import { createConsumer, type ConsumerOptions } from '../src/consumer.ts';
import { PublishError } from '../src/errors.ts';
import { createPublisher, type Publication, type Publisher, type PublisherOptions } from '../src/publisher.ts';
import { declareTopology, exchanges, fleetwireTopology, routingKeys, type Topology } from '../src/topology.ts';

export interface LogLine {
  level: 'info' | 'warn' | 'error';
  message: string;
  fields: Record<string, unknown>;
}

export function recordingLogger(): BrokerLogger & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: LogLine['level']) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: { ...fields } });
  return { lines, info: at('info'), warn: at('warn'), error: at('error') };
}

/** Connections, publishers and consumers of one test, on the suite's vhost; all closed after the test. */
export function brokerHarness(amqpUrl: string, topology: Topology = fleetwireTopology()) {
  let cleanUp: AsyncDisposableStack;
  beforeEach(() => void (cleanUp = new AsyncDisposableStack()));
  afterEach(() => cleanUp.disposeAsync());

  async function startProxy(): Promise<FaultProxy> {
    const { hostname, port } = new URL(amqpUrl);
    const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
    cleanUp.defer(() => proxy.stop());
    return proxy;
  }

  /** Connected through the proxy where one is given; still connecting when it returns. */
  function open({ proxy, ...overrides }: Partial<BrokerConnectionOptions> & { proxy?: FaultProxy } = {}) {
    const url = new URL(amqpUrl);
    if (proxy !== undefined) {
      url.hostname = '127.0.0.1';
      url.port = String(proxy.port);
    }
    const connection = openBrokerConnection({
      url: url.href,
      name: `test-${randomUUID()}`,
      logger: recordingLogger(),
      onOpen: declareTopology(topology),
      reconnectBackoff: { baseMs: 10, capMs: 100 },
      connectTimeoutMs: 5_000,
      channelOpenTimeoutMs: 500,
      closeTimeoutMs: 500,
      redeclareDelayMs: 50,
      ...overrides,
    });
    cleanUp.defer(() => connection.close());
    return connection;
  }

  async function publisherOn(connection: BrokerConnection, overrides: Partial<PublisherOptions> = {}) {
    const publisher = createPublisher(connection, {
      logger: recordingLogger(),
      messagesInFlightMax: 100,
      bytesInFlightMax: 1024 * 1024,
      confirmTimeoutMs: 10_000,
      reopenBackoff: { baseMs: 10, capMs: 100 },
      ...overrides,
    });
    cleanUp.defer(() => publisher.close());
    await publisher.whenWritable(AbortSignal.timeout(10_000));
    return publisher;
  }

  async function consumerOn(
    connection: BrokerConnection,
    options: Partial<ConsumerOptions> & Pick<ConsumerOptions, 'queue' | 'handle'>,
  ) {
    const consumer = createConsumer(connection, {
      logger: recordingLogger(),
      prefetch: 10,
      resubscribeBackoff: { baseMs: 10, capMs: 100 },
      ...options,
    });
    cleanUp.defer(async () => void (await consumer.drain(0)));
    await eventually(() => expect(consumer.subscribed).toBe(true), { intervalMs: 1 });
    return consumer;
  }

  /** amqplib itself, straight to the broker: what an operator would do. */
  async function operator(): Promise<Channel> {
    const session = await connect(amqpUrl);
    session.on('error', () => {});
    cleanUp.defer(() => session.close());
    const channel = await session.createChannel();
    channel.on('error', () => {});
    return channel;
  }

  return { amqpUrl, startProxy, open, publisherOn, consumerOn, operator };
}

export type Harness = ReturnType<typeof brokerHarness>;

/** A message for the work queue. */
export function telemetry(content: string | Buffer = 'reading', overrides: Partial<Publication> = {}): Publication {
  return {
    exchange: exchanges.telemetry,
    routingKey: routingKeys.persist,
    content: Buffer.from(content),
    messageId: randomUUID(),
    ...overrides,
  };
}

/** Publishes and says how it ended: `confirmed`, or the kind of its failure. */
export function attempt(publisher: Publisher, message: Publication): Promise<string> {
  return publisher.publish(message).then(
    () => 'confirmed',
    (error: unknown) => (error instanceof PublishError ? error.kind : String(error)),
  );
}

/** A promise that the test resolves from outside. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: () => resolve() };
}
