import { randomUUID } from 'node:crypto';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createConsumer } from '@fleetwire/broker/consumer';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, edgeRoutingKey, exchanges, queues, routingKeys } from '@fleetwire/broker/topology';
import {
  type CommandDispatch,
  type CommandOutcome,
  decodeCommandOutcome,
  encodeCommandDispatch,
} from '@fleetwire/contracts/command';
import type { ServerMessage } from '@fleetwire/contracts/device-protocol';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect } from 'vitest';
import { type RunningIngest, connect, logger, token } from './harness.ts';

/** Sends commands to edges, and keeps what they report. */
export async function commander(amqpUrl: string) {
  const outcomes: CommandOutcome[] = [];
  const connection = openBrokerConnection({ url: amqpUrl, name: 'test', logger, onOpen: declareTopology() });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: 100,
    bytesInFlightMax: 16 * 1024 * 1024,
    confirmTimeoutMs: 10_000,
  });
  const consumer = createConsumer(connection, {
    logger,
    queue: queues.commandResults,
    prefetch: 100,
    handle: async ({ content }) => {
      const outcome = decodeCommandOutcome(content);
      if (!outcome.ok) throw new Error(outcome.issue.message);
      outcomes.push(outcome.value);
      return 'ack';
    },
  });
  cleanUp(async () => {
    await consumer.drain(1_000);
    await publisher.close();
    await connection.close();
  });
  await eventually(() => expect([consumer.subscribed, publisher.writable]).toEqual([true, true]));

  const send = async (
    deviceId: string,
    { edge, ...overrides }: Partial<CommandDispatch> & { edge?: string } = {},
  ): Promise<string> => {
    const dispatch: CommandDispatch = {
      id: randomUUID(),
      type: 'command.dispatch',
      schemaVersion: '1.0',
      occurredAt: Date.now(),
      deviceId,
      command: 'set_threshold',
      args: { min: 22 },
      attempt: 1,
      deadlineAt: Date.now() + 60_000,
      replyTo: null,
      ...overrides,
    };
    await publisher.publish({
      exchange: exchanges.commands,
      routingKey: edge === undefined ? routingKeys.edges : edgeRoutingKey(edge),
      messageId: randomUUID(),
      content: encodeCommandDispatch(dispatch),
    });
    return dispatch.id;
  };

  const of = (id: string) => outcomes.filter(({ commandId }) => commandId === id);
  /** The first report of this outcome. */
  const outcome = (id: string, kind: CommandOutcome['outcome']) =>
    eventually(() => {
      const found = of(id).find((one) => one.outcome === kind);
      if (found === undefined) throw new Error(`no ${kind} of ${id} among ${JSON.stringify(outcomes)}`);
      return found;
    });
  return {
    outcomes,
    of,
    /** To all edges unless one is named. @returns the id of the command */
    send,
    outcome,
    /** The name of an edge, once it takes commands. */
    edgeOf: async ({ webSocketUrl }: RunningIngest): Promise<string> => {
      const deviceId = `probe-${randomUUID()}`;
      const device = await connect(webSocketUrl, { token: await token(deviceId) });
      device.socket.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString('utf8')) as ServerMessage;
        if (message.type === 'control') device.send({ type: 'control-result', id: message.id, ok: true });
      });
      // Until the queue of the edge is bound, the command is returned or reaches other edges only.
      const answered = await eventually(
        async () => {
          const id = await send(deviceId);
          return eventually(() => of(id).find(({ outcome: one }) => one === 'succeeded') ?? fail(id), {
            timeoutMs: 500,
          });
        },
        { timeoutMs: 20_000 },
      );
      device.socket.terminate();
      return answered.edge;
    },
  };
}

function fail(id: string): never {
  throw new Error(`no edge has taken ${id}`);
}
