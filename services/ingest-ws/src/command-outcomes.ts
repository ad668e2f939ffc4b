import { randomUUID } from 'node:crypto';
import type { Publisher } from '@fleetwire/broker/publisher';
import { type RetryingPublish, createRetryingPublisher } from '@fleetwire/broker/retrying-publisher';
import { exchanges, resultRoutingKey } from '@fleetwire/broker/topology';
import { settledWithin } from '@fleetwire/broker/waiting';
import {
  type CommandDispatch,
  type CommandOutcome,
  commandSchemaVersion,
  commandTypes,
  encodeCommandOutcome,
} from '@fleetwire/contracts/command';
import type { Logger } from '@fleetwire/runtime/logger';
import type { IngestMetrics } from './metrics.ts';

export interface CommandOutcomesOptions {
  readonly edge: string;
  readonly publisher: Publisher;
  /** Of outcomes that the broker has not confirmed. */
  readonly bytesMax: number;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
}

export type ReportedCommand = Pick<CommandDispatch, 'id' | 'deviceId' | 'attempt' | 'replyTo'>;

/** Publishes what becomes of commands, each outcome until the broker has confirmed it. */
export class CommandOutcomes {
  readonly #options: CommandOutcomesOptions;
  readonly #stopping = new AbortController();
  readonly #publish: RetryingPublish;
  readonly #unconfirmed = new Set<Promise<void>>();
  #bytes = 0;

  constructor(options: CommandOutcomesOptions) {
    this.#options = options;
    this.#publish = createRetryingPublisher(options.publisher, this.#stopping.signal, options.logger);
  }

  /** @returns false where too many bytes are not confirmed: the outcome is not reported */
  report(
    { id, deviceId, attempt, replyTo }: ReportedCommand,
    outcome: CommandOutcome['outcome'],
    answer: Pick<CommandOutcome, 'result' | 'error'> = {},
  ): boolean {
    const { edge, bytesMax, metrics } = this.#options;
    const messageId = randomUUID();
    const content = encodeCommandOutcome({
      id: messageId,
      type: commandTypes.outcome,
      schemaVersion: commandSchemaVersion,
      occurredAt: Date.now(),
      commandId: id,
      deviceId,
      edge,
      attempt,
      outcome,
      ...answer,
    });
    if (this.#bytes + content.length > bytesMax) {
      metrics.limitsReached.inc({ limit: 'commandOutcomesBytesMax' });
      return false;
    }
    this.#bytes += content.length;
    const publishing = this.#publish({
      exchange: exchanges.commands,
      routingKey: resultRoutingKey(replyTo),
      messageId,
      type: commandTypes.outcome,
      contentType: 'application/json',
      content,
    })
      // The service is stopping, and the broker does not confirm.
      .catch(() => {})
      .finally(() => {
        this.#bytes -= content.length;
        this.#unconfirmed.delete(publishing);
      });
    this.#unconfirmed.add(publishing);
    return true;
  }

  /** Awaits the confirms; gives up after `timeoutMs`: the commands then end by their deadline. */
  async finish(timeoutMs: number): Promise<void> {
    await settledWithin(Promise.all(this.#unconfirmed), timeoutMs);
    this.#stopping.abort(new Error('the service is stopping'));
  }
}
