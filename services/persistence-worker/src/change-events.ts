import { randomUUID } from 'node:crypto';
import type { Publisher } from '@fleetwire/broker/publisher';
import type { RetryingPublish } from '@fleetwire/broker/retrying-publisher';
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

interface ChangeEventsOptions<Change> {
  /** Ends when the worker stops. */
  readonly publish: RetryingPublish;
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
 * wait; of what changes again before its change is published, the newest one. What is too much, or waits when the worker stops, is dropped: the
 * table is the truth.
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
    const { publish, type, schemaVersion, changesPerMessageMax, counter } = this.#options;
    this.#isPublishing = true;
    while (this.#unpublished.size > 0) {
      const next = [...this.#unpublished].slice(0, changesPerMessageMax);
      for (const [key] of next) this.#unpublished.delete(key);
      const changes = next.map(([, change]) => change);
      const event = { id: randomUUID(), type, schemaVersion, occurredAt: Date.now(), changes };
      const result = await publish(transientJson(exchanges.events, type, event)).then(
        () => 'published' as const,
        () => 'dropped' as const,
      );
      counter.inc({ result }, changes.length);
    }
    this.#isPublishing = false;
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
  readonly publish: RetryingPublish;
  readonly metrics: Pick<WorkerMetrics, 'presenceChanges' | 'commandChanges'>;
}

export function presenceEvents({ publish, metrics }: EventsOptions): PresenceEvents {
  return new ChangeEvents({
    publish,
    type: presenceChangedType,
    schemaVersion: presenceEventSchemaVersion,
    changesPerMessageMax: presenceChangesPerMessageMax,
    keyOf: ({ deviceId }) => deviceId,
    counter: metrics.presenceChanges,
  });
}

export function commandEvents({ publish, metrics }: EventsOptions): CommandEvents {
  return new ChangeEvents({
    publish,
    type: commandChangedType,
    schemaVersion: commandEventSchemaVersion,
    changesPerMessageMax: commandChangesPerMessageMax,
    keyOf: ({ commandId }) => commandId,
    counter: metrics.commandChanges,
  });
}
