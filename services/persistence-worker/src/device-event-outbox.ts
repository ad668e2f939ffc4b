import { PublishError } from '@fleetwire/broker/errors';
import type { Publisher } from '@fleetwire/broker/publisher';
import { exchanges } from '@fleetwire/broker/topology';
import { deviceEventSchemaVersion, encodeDeviceEvent } from '@fleetwire/contracts/device-event';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import type { StoredDeviceEvent } from '@fleetwire/store/registry/events';
import { publishNextEvents } from '@fleetwire/store/registry/outbox';
import { repeat } from './repeat.ts';

/** How late a change of the registry is published at most, while all is well. */
const lookPauseMs = 500;
const failurePauseMs = 2_000;
const eventsMax = 100;

export interface DeviceEventOutboxOptions {
  readonly database: Database;
  readonly publisher: Publisher;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Publishes the changes of the device registry on the exchange `events`. Every worker runs it; one at a time publishes. */
export function runDeviceEventOutbox({ database, publisher, logger, signal }: DeviceEventOutboxOptions): Promise<void> {
  const task = async (): Promise<number> => {
    await publisher.whenWritable(signal);
    const published = await publishNextEvents(database, {
      publish: (event) => publishEvent(publisher, event),
      eventsMax,
    });
    return published === eventsMax ? 0 : lookPauseMs;
  };
  const onFailure = (error: unknown) => logger.warn({ err: error }, 'failed to publish device events; retrying');
  return repeat(task, { failurePauseMs, onFailure, signal });
}

async function publishEvent(publisher: Publisher, event: StoredDeviceEvent): Promise<void> {
  const { key, deviceId, version, type, occurredAt, actor, state } = event;
  const id = `device-event-${key}`;
  try {
    await publisher.publish({
      exchange: exchanges.events,
      routingKey: type,
      messageId: id,
      type,
      contentType: 'application/json',
      content: encodeDeviceEvent({
        id,
        type,
        schemaVersion: deviceEventSchemaVersion,
        occurredAt,
        deviceId,
        version,
        actor,
        state: { ...state, tags: [...state.tags] },
      }),
    });
  } catch (error) {
    // No queue is bound: there is no reader yet, and one that comes later reads the table first.
    if (!(error instanceof PublishError && error.kind === 'returned')) throw error;
  }
}
