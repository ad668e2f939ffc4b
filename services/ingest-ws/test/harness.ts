import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createConsumer } from '@fleetwire/broker/consumer';
import type { Delivery } from '@fleetwire/broker/delivery';
import { type TopologyLimits, declareTopology, fleetwireTopology, queues } from '@fleetwire/broker/topology';
import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { type ServerMessage, subprotocol } from '@fleetwire/contracts/device-protocol';
import { decodeEnvelope } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { FaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { proxied } from '@fleetwire/platform/testing/proxied';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { compareAnswersOf } from '@fleetwire/platform/testing/documented-answers';
import { expect } from 'vitest';
import WebSocket from 'ws';
import { readIngestConfiguration } from '../src/configuration.ts';
import { type Ingest, startIngest } from '../src/start-ingest.ts';

export const logger = await createLogger({ name: 'test', level: 'silent' });
const keys = await generateKeySet();
const minter = createTokenMinter({ privateJwks: keys.privateJwks, issuer: tokenIssuer, audience: tokenAudience });

export async function token(subject: string, role = 'device', expiresInSeconds = 3_600): Promise<string> {
  return (await minter.mint({ subject, role, expiresInSeconds })).token;
}

export type RunningIngest = Ingest & { readonly proxy: FaultProxy };

/** An edge of its own, reaching the broker through a proxy that can break the way there. */
export async function ingest(
  amqpUrl: string,
  env: Record<string, string> = {},
  limits: Partial<TopologyLimits> = {},
): Promise<RunningIngest> {
  const { proxy, url } = await proxied(amqpUrl);
  const config = readIngestConfiguration({
    AMQP_URL: url,
    AUTH_JWKS: JSON.stringify(keys.publicJwks),
    PORT: '0',
    ...env,
  });
  const running = await startIngest({ config, logger, topology: fleetwireTopology(limits) });
  cleanUp(() => running.stop());
  compareAnswersOf(running.url);
  await untilReady(running);
  return { ...running, proxy };
}

export async function untilReady({ url }: { url: string }): Promise<void> {
  await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200));
}

/** Everything that reaches the work queue, reading by reading. */
export async function queued(amqpUrl: string, limits: Partial<TopologyLimits> = {}): Promise<IdentifiedReading[]> {
  const readings: IdentifiedReading[] = [];
  const take = ({ content }: Delivery) => {
    const envelope = decodeEnvelope(content);
    if (envelope.ok) readings.push(...envelope.value.readings);
  };
  await consumeWork(amqpUrl, take, limits);
  return readings;
}

/** Takes and acknowledges everything that reaches the work queue; resolves when subscribed. */
export async function consumeWork(
  amqpUrl: string,
  take: (delivery: Delivery) => void,
  limits: Partial<TopologyLimits> = {},
): Promise<void> {
  const connection = openBrokerConnection({
    url: amqpUrl,
    name: 'test',
    logger,
    onOpen: declareTopology(fleetwireTopology(limits)),
  });
  const consumer = createConsumer(connection, {
    logger,
    queue: queues.persist,
    prefetch: 100,
    handle: async (delivery) => {
      take(delivery);
      return 'ack';
    },
  });
  cleanUp(async () => {
    await consumer.drain(1_000);
    await connection.close();
  });
  await eventually(() => expect(consumer.subscribed).toBe(true));
}

export interface Device {
  readonly socket: WebSocket;
  readonly messages: ServerMessage[];
  readonly closed: Promise<{ code: number; reason: string }>;
  send(message: object | string | Buffer): void;
  /** The first message of this type from now on, or that came already and was not asked for yet. */
  next<T extends ServerMessage['type']>(type: T): Promise<Extract<ServerMessage, { type: T }>>;
}

export async function connect(
  url: string,
  options: { token?: string | undefined; protocols?: string[]; autoPong?: boolean } = {},
): Promise<Device> {
  const socket = new WebSocket(url, options.protocols ?? [subprotocol], {
    autoPong: options.autoPong ?? true,
    ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
  });
  const messages: ServerMessage[] = [];
  const taken = new Set<ServerMessage>();
  socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8')) as ServerMessage));
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
  );
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
    socket.once('unexpected-response', (_request, response) =>
      reject(new Error(`refused with ${response.statusCode}`)),
    );
  });
  socket.on('error', () => {});
  cleanUp(() => socket.terminate());
  return {
    socket,
    messages,
    closed,
    send: (message) =>
      socket.send(typeof message === 'object' && !Buffer.isBuffer(message) ? JSON.stringify(message) : message),
    next: async (type) =>
      eventually(() => {
        const found = messages.find((message) => message.type === type && !taken.has(message));
        if (found === undefined) throw new Error(`no ${type} among ${JSON.stringify(messages)}`);
        taken.add(found);
        return found as never;
      }),
  };
}

/** One reading as a device sends it. */
export function telemetry(seq: number, value = seq): object {
  return { type: 'telemetry', seq, ts: Date.now(), metrics: { temperature: value } };
}
