import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '@fleetwire/broker/errors';
import type { Publication, Publisher } from '@fleetwire/broker/publisher';
import { exchanges } from '@fleetwire/broker/topology';
import { transientJson } from '@fleetwire/broker/transient-json';
import {
  commandChangedType,
  type CommandChange,
  commandChangesPerMessageMax,
  commandEventSchemaVersion,
} from '@fleetwire/contracts/command-event';
import {
  type PresenceChange,
  presenceChangedType,
  presenceChangesPerMessageMax,
  presenceEventSchemaVersion,
} from '@fleetwire/contracts/presence-event';
import type { WorkerMetrics } from './metrics.ts';

/** Devices or commands whose change is not published yet. Beyond it changes are dropped. */
const unpublishedMax = 100_000;
/** Before a message that was not confirmed is sent again. */
const againPauseMs = 100;

interface ChangeEventsOptions<Change> {
  readonly publisher: Publisher;
  /** Aborted when the worker stops. */
  readonly signal: AbortSignal;
  /** Of the message; its routing key, too. */
  readonly type: string;
  readonly schemaVersion: string;
  readonly changesPerMessageMax: number;
  /** What changes. */
  readonly keyOf: (change: Change) => string;
  readonly counter: WorkerMetrics['presenceChanges'];
}

/**
 * Publishes changes on the exchange `events`, one message at a time, so that their order is kept. While the broker does not take them they
 * wait; of what changes again before its change is published, the newest one. What is too much, waits when the worker stops, or is
 * refused by a queue is dropped: the table is the truth.
 */
class ChangeEvents<Change> {
  readonly #options: ChangeEventsOptions<Change>;
  readonly #unpublished = new Map<string, Change>();
  #isPublishing = false;

  constructor(options: ChangeEventsOptions<Change>) {
    this.#options = options;
  }

  /** @param changes as committed */
  publish(changes: readonly Change[]): void {
    const { keyOf, counter } = this.#options;
    for (const change of changes) {
      const key = keyOf(change);
      const isKnown = this.#unpublished.delete(key);
      if (isKnown || this.#unpublished.size < unpublishedMax) this.#unpublished.set(key, change);
      else counter.inc({ result: 'dropped' });
    }
    if (!this.#isPublishing) void this.#publishAll();
  }

  async #publishAll(): Promise<void> {
    const { type, schemaVersion, changesPerMessageMax, counter } = this.#options;
    this.#isPublishing = true;
    while (this.#unpublished.size > 0) {
      const next = [...this.#unpublished].slice(0, changesPerMessageMax);
      for (const [key] of next) this.#unpublished.delete(key);
      const changes = next.map(([, change]) => change);
      const event = { id: randomUUID(), type, schemaVersion, occurredAt: Date.now(), changes };
      const result = await this.#publishOne(transientJson(exchanges.events, type, event));
      counter.inc({ result }, changes.length);
    }
    this.#isPublishing = false;
  }

  async #publishOne(message: Publication): Promise<'published' | 'dropped'> {
    const { publisher, signal } = this.#options;
    for (;;) {
      try {
        await publisher.whenWritable(signal);
      } catch {
        return 'dropped';
      }
      try {
        await publisher.publish(message);
        return 'published';
      } catch (error) {
        // A queue that is full refuses it again and again; the other queues have it.
        if (!(error instanceof PublishError) || error.kind === 'nacked') return 'dropped';
      }
      await sleep(againPauseMs, undefined, { signal }).catch(() => {});
    }
  }
}

/** @returns publishes a message that may be lost; false where the broker does not take it now */
export function transientEvents(
  publisher: Pick<Publisher, 'publish' | 'writable'>,
): (message: { readonly type: string }) => boolean {
  return (message) => {
    if (!publisher.writable) return false;
    publisher.publish(transientJson(exchanges.events, message.type, message)).catch(() => {});
    return true;
  };
}

export type PresenceEvents = ChangeEvents<PresenceChange>;
export type CommandEvents = ChangeEvents<CommandChange>;

interface EventsOptions {
  readonly publisher: Publisher;
  readonly signal: AbortSignal;
  readonly metrics: Pick<WorkerMetrics, 'presenceChanges' | 'commandChanges'>;
}

export function presenceEvents({ publisher, signal, metrics }: EventsOptions): PresenceEvents {
  return new ChangeEvents({
    publisher,
    signal,
    type: presenceChangedType,
    schemaVersion: presenceEventSchemaVersion,
    changesPerMessageMax: presenceChangesPerMessageMax,
    keyOf: ({ deviceId }) => deviceId,
    counter: metrics.presenceChanges,
  });
}

export function commandEvents({ publisher, signal, metrics }: EventsOptions): CommandEvents {
  return new ChangeEvents({
    publisher,
    signal,
    type: commandChangedType,
    schemaVersion: commandEventSchemaVersion,
    changesPerMessageMax: commandChangesPerMessageMax,
    keyOf: ({ commandId }) => commandId,
    counter: metrics.commandChanges,
  });
}
