import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { type Consumer, createConsumer } from '@fleetwire/broker/consumer';
import { queues } from '@fleetwire/broker/topology';
import { type CommandOutcome, decodeCommandOutcome } from '@fleetwire/contracts/command';
import type { Logger } from '@fleetwire/runtime/logger';
import { applyOutcomes, type OutcomeResult } from '@fleetwire/store/commands/outcomes';
import type { Database } from '@fleetwire/store/database';
import type { FailureClass } from '@fleetwire/store/failure';
import type { CommandEvents } from './change-events.ts';
import type { DatabaseGate } from './database-gate.ts';
import type { WorkerMetrics } from './metrics.ts';

const outcomesUnackedMax = 200;
const failurePauseMs = 1_000;

export interface CommandOutcomesOptions {
  readonly connection: BrokerConnection;
  readonly pool: Database['pool'];
  readonly gate: DatabaseGate;
  readonly classify: (error: unknown) => FailureClass;
  readonly events: CommandEvents;
  readonly metrics: Pick<WorkerMetrics, 'commands' | 'commandOutcomes' | 'commandSeconds'>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

type Settlement = 'ack' | 'requeue';

interface PendingOutcome {
  readonly outcome: CommandOutcome;
  readonly settled: PromiseWithResolvers<Settlement>;
}

/** Writes what edges report of commands. While outcomes are being written, the next ones gather. */
export class CommandOutcomes {
  readonly #options: CommandOutcomesOptions;
  readonly #consumer: Consumer;
  #pending: PendingOutcome[] = [];
  #isWriting = false;

  constructor(options: CommandOutcomesOptions) {
    this.#options = options;
    this.#consumer = createConsumer(options.connection, {
      logger: options.logger,
      queue: queues.commandResults,
      prefetch: outcomesUnackedMax,
      handle: async ({ content, messageId }) => {
        const outcome = decodeCommandOutcome(content);
        if (!outcome.ok) {
          options.metrics.commandOutcomes.inc({ result: 'unreadable' });
          options.logger.warn({ messageId, issue: outcome.issue }, 'unreadable outcome of a command dropped');
          return 'ack';
        }
        const settled = Promise.withResolvers<Settlement>();
        this.#pending.push({ outcome: outcome.value, settled });
        if (!this.#isWriting) void this.#writePending();
        return settled.promise;
      },
    });
  }

  get subscribed(): boolean {
    return this.#consumer.subscribed;
  }

  /** Outcomes that are not written stay in the queue. */
  drain(timeoutMs: number): Promise<boolean> {
    return this.#consumer.drain(timeoutMs);
  }

  async #writePending(): Promise<void> {
    this.#isWriting = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      await this.#write(batch);
    }
    this.#isWriting = false;
  }

  async #write(batch: readonly PendingOutcome[]): Promise<void> {
    const { pool, gate, classify, events, signal } = this.#options;
    try {
      const outcomes = batch.map(({ outcome }) => outcome);
      const results = await gate.retryWhileUnavailable(() => applyOutcomes(pool, outcomes));
      for (const [index, result] of results.entries()) this.#note(outcomes[index] as CommandOutcome, result);
      events.publish(results.flatMap((result) => (typeof result === 'string' ? [] : [result.change])));
      for (const { settled } of batch) settled.resolve('ack');
    } catch (error) {
      const isRefused = !signal.aborted && classify(error) === 'bad-data';
      if (isRefused && batch.length > 1) for (const one of batch) await this.#write([one]);
      else await this.#giveUp(batch, { error, isRefused });
    }
  }

  /** What Postgres refuses for its content is dropped; everything else is delivered again. */
  async #giveUp(
    batch: readonly PendingOutcome[],
    { error, isRefused }: { readonly error: unknown; readonly isRefused: boolean },
  ): Promise<void> {
    const { metrics, logger, signal } = this.#options;
    if (isRefused) metrics.commandOutcomes.inc({ result: 'refused' }, batch.length);
    if (!signal.aborted) {
      const commands = batch.map(({ outcome }) => outcome.commandId);
      logger.error(
        { err: error, commands },
        isRefused ? 'outcome of a command dropped' : 'failed to write outcomes of commands; retrying',
      );
      if (!isRefused) await sleep(failurePauseMs, undefined, { signal }).catch(() => {});
    }
    for (const { settled } of batch) settled.resolve(isRefused ? 'ack' : 'requeue');
  }

  #note({ outcome, commandId, deviceId }: CommandOutcome, result: OutcomeResult): void {
    const { metrics, logger } = this.#options;
    metrics.commandOutcomes.inc({ result: typeof result === 'string' ? result : 'applied' });
    if (result === 'ignored') logger.debug({ command: commandId, deviceId, outcome }, 'command result ignored');
    if (typeof result === 'string') return;
    const { state, mode, jobId } = result.change;
    if (state !== 'queued') metrics.commands.inc({ state });
    if (result.roundTripMs !== null && mode === 'now' && jobId === null)
      metrics.commandSeconds.observe(result.roundTripMs / 1_000);
  }
}
