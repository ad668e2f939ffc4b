import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError, type PublishFailure } from '@fleetwire/broker/errors';
import type { Publisher } from '@fleetwire/broker/publisher';
import { edgeRoutingKey, exchanges, routingKeys } from '@fleetwire/broker/topology';
import { commandSchemaVersion, commandTypes, encodeCommandDispatch } from '@fleetwire/contracts/command';
import type { Logger } from '@fleetwire/runtime/logger';
import { commandsChannel } from '@fleetwire/store/commands/command';
import {
  attemptsNotSent,
  attemptsReturned,
  type CommandAttempt,
  takeDueCommands,
  timeToNextCommand,
} from '@fleetwire/store/commands/dispatch';
import { releaseCommands } from '@fleetwire/store/commands/jobs';
import type { Database } from '@fleetwire/store/database';
import { listen } from '@fleetwire/store/listen';
import type { CommandEvents } from './change-events.ts';
import type { WorkerMetrics } from './metrics.ts';

/** Commands in one transaction. */
const commandsMax = 200;
/** Between two looks where no notification comes. */
const lookPauseMs = 1_000;
const failurePauseMs = 2_000;
/** Before an attempt that could not be published is made again. */
const retryMs = 500;

export interface CommandDispatcherOptions {
  readonly pool: Database['pool'];
  /** That expects returned messages. */
  readonly publisher: Publisher;
  readonly events: CommandEvents;
  readonly metrics: Pick<WorkerMetrics, 'commands'>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Sends the commands that are due to the edges, and ends those whose time is over. What is due is in the rows: every worker runs this, and may
 * be killed. Resolves when the signal is aborted.
 */
export async function runCommandDispatcher(options: CommandDispatcherOptions): Promise<void> {
  const { pool, logger, signal } = options;
  const wake = createWake(signal);
  const listening = listenForCommands(options, wake.now);
  let isFailing = false;
  while (!signal.aborted) {
    let pauseMs: number;
    try {
      pauseMs = await timeToNextCommand(pool, lookPauseMs);
      if (pauseMs === 0) await dispatchDue(options);
      isFailing = false;
    } catch (error) {
      if (signal.aborted) break;
      // The same failure again and again, while Postgres is away, is logged once.
      if (!isFailing) logger.warn({ err: error }, 'failed to dispatch commands; retrying');
      isFailing = true;
      pauseMs = failurePauseMs;
    }
    if (pauseMs > 0) await wake.within(pauseMs);
  }
  await listening;
}

async function dispatchDue({ pool, publisher, events, metrics, logger }: CommandDispatcherOptions): Promise<void> {
  await releaseCommands(pool);
  const { attempts, changed } = await takeDueCommands(pool, { limit: commandsMax });
  for (const { state } of changed) if (state !== 'queued') metrics.commands.inc({ state });
  events.publish(changed);
  const published = await Promise.all(
    attempts.map(async (attempt) => ({ ...attempt, failure: await publishAttempt(publisher, attempt) })),
  );
  const failed = published.filter(({ failure }) => failure !== undefined && failure !== 'returned');
  if (failed.length > 0)
    logger.warn({ commands: failed.length, failure: failed[0]?.failure }, 'commands not published');
  await attemptsReturned(
    pool,
    published.filter(({ failure }) => failure === 'returned'),
  );
  await attemptsNotSent(
    pool,
    failed.filter(({ failure }) => isNotSent.has(failure)),
    { retryMs },
  );
}

/** In the other cases it may be in the queue of the edge, and is not published twice. */
const isNotSent = new Set<PublishFailure | undefined>(['nacked', 'unavailable', 'window-full']);

/** @returns why there is no confirm, if there is none */
async function publishAttempt(
  publisher: Publisher,
  { edge, ...command }: CommandAttempt,
): Promise<PublishFailure | undefined> {
  const now = Date.now();
  try {
    await publisher.publish({
      exchange: exchanges.commands,
      routingKey: edge === null ? routingKeys.edges : edgeRoutingKey(edge),
      messageId: `${command.id} ${command.attempt} ${edge ?? ''}`,
      type: commandTypes.dispatch,
      contentType: 'application/json',
      expirationMs: Math.max(1, Math.ceil(command.deadlineAt - now)),
      content: encodeCommandDispatch({
        ...command,
        type: commandTypes.dispatch,
        schemaVersion: commandSchemaVersion,
        occurredAt: now,
      }),
    });
    return undefined;
  } catch (error) {
    if (error instanceof PublishError) return error.kind;
    throw error;
  }
}

/** Only makes dispatching faster: without a connection the dispatcher looks every second. */
async function listenForCommands(
  { pool, logger, signal }: CommandDispatcherOptions,
  onNotification: () => void,
): Promise<void> {
  while (!signal.aborted) {
    await listen(pool, { channel: commandsChannel, onNotification, signal }).catch((error: unknown) => {
      logger.debug({ err: error }, 'not listening for commands; retrying');
    });
    await sleep(failurePauseMs, undefined, { signal }).catch(() => {});
  }
}

/** A pause that ends early when it is woken, or when the signal is aborted. */
function createWake(signal: AbortSignal) {
  let woken = Promise.withResolvers<void>();
  return {
    now: () => woken.resolve(),
    within: async (milliseconds: number) => {
      await Promise.race([woken.promise, sleep(milliseconds, undefined, { signal }).catch(() => {})]);
      woken = Promise.withResolvers();
    },
  };
}
