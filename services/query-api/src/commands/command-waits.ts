import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { declareTopology, exchanges, resultRoutingKey } from '@fleetwire/broker/topology';
import { type CommandOutcome, decodeCommandOutcome } from '@fleetwire/contracts/command';
import type { Logger } from '@fleetwire/runtime/logger';
import type { StoredCommand } from '@fleetwire/store/commands/command';

const queueMessagesMax = 10_000;
const queueBytesMax = 64 * 1024 * 1024;
/** A command may end without an outcome of an edge, and an outcome may be lost with the connection. */
const lookMs = 1_000;

interface CommandWait extends Disposable {
  /** Resolves with the command once it has ended, or undefined after this time. `look` reads it. */
  ended(forMs: number, look: () => Promise<StoredCommand | undefined>): Promise<StoredCommand | undefined>;
}

/** Calls that wait for the end of a command. Edges report to this instance by its name. */
export interface CommandWaits {
  readonly instance: string;
  /** Before the command can be sent. */
  open(id: string): CommandWait;
  close(): Promise<void>;
}

export function openCommandWaits({
  amqpUrl,
  logger,
}: {
  readonly amqpUrl: string;
  readonly logger: Logger;
}): CommandWaits {
  const instance = randomUUID();
  const waiting = new Map<string, PromiseWithResolvers<CommandOutcome>>();
  const connection = openBrokerConnection({
    url: amqpUrl,
    name: 'query-api commands',
    logger,
    onOpen: declareTopology({ exchanges: [{ name: exchanges.commands, type: 'topic' }], queues: [], bindings: [] }),
  });
  connection.opened.catch(() => {}); // without the broker the answer is found in the database
  const queue = openPrivateQueue(connection, {
    logger,
    namePrefix: `commands.r.${instance}`,
    exchange: exchanges.commands,
    routingKeys: [resultRoutingKey(instance)],
    messagesMax: queueMessagesMax,
    bytesMax: queueBytesMax,
    onMessage: (content) => {
      const outcome = decodeCommandOutcome(content);
      if (outcome.ok && isEnd(outcome.value)) waiting.get(outcome.value.commandId)?.resolve(outcome.value);
    },
    onBound: () => {},
  });

  return {
    instance,
    open: (id) => {
      const answered = Promise.withResolvers<CommandOutcome>();
      waiting.set(id, answered);
      return {
        ended: async (forMs, look) => {
          const until = performance.now() + forMs;
          for (;;) {
            const leftMs = until - performance.now();
            const outcome = await Promise.race([
              answered.promise,
              sleep(Math.min(lookMs, Math.max(0, leftMs)), undefined),
            ]);
            const command = await look();
            if (command === undefined || command.finishedAt !== null) return command;
            if (outcome !== undefined) return endedBy(command, outcome);
            if (leftMs <= lookMs) return undefined;
          }
        },
        [Symbol.dispose]: () => void waiting.delete(id),
      };
    },
    close: async () => {
      await queue.close();
      await connection.close();
    },
  };
}

function isEnd({ outcome }: CommandOutcome): boolean {
  return outcome === 'succeeded' || outcome === 'failed';
}

/** The command as it will be stored: the answer of the device is here before that. */
function endedBy(
  command: StoredCommand,
  { outcome, attempt, result, error, occurredAt }: CommandOutcome,
): StoredCommand {
  return {
    ...command,
    state: outcome === 'succeeded' ? 'succeeded' : 'failed',
    attempts: Math.max(command.attempts, attempt),
    result: result ?? null,
    error: error ?? null,
    finishedAt: occurredAt,
  };
}
