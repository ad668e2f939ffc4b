import { beginningOfCommits, type CommitPosition } from '../commit-order.ts';
import type { Database } from '../database.ts';
import { deviceEventsAfter, type StoredDeviceEvent } from './events.ts';

export interface OutboxOptions {
  /** Resolves once the broker has the event; called for one event after the other. */
  readonly publish: (event: StoredDeviceEvent) => Promise<void>;
  /** Events published in one transaction, which is open for so long. */
  readonly eventsMax: number;
}

/**
 * Publishes the next device events, in commit order. One process does so at a time: the others skip the locked row. A process that is
 * killed has published events whose position is not recorded; they are published again, so readers drop them by (device, version).
 * @returns how many were published
 */
export async function publishNextEvents(database: Database, { publish, eventsMax }: OutboxOptions): Promise<number> {
  // A look that writes nothing and locks nothing: usually there are none.
  const { rows: known } = await database.pool.query<OutboxRow>('select position from device_event_outbox');
  const [seen] = known;
  if (seen === undefined || (await nextPage(database, seen.position, 1)).events.length === 0) return 0;

  const client = await database.pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('begin');
    const { rows } = await client.query<OutboxRow>('select position from device_event_outbox for update skip locked');
    const [locked] = rows;
    const page = locked && (await nextPage(database, locked.position, eventsMax));
    for (const event of page?.events ?? []) await publish(event);
    if (page !== undefined)
      await client.query('update device_event_outbox set position = $1', [
        JSON.stringify({ store: page.store, ...page.position }),
      ]);
    await client.query('commit');
    return page?.events.length ?? 0;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

interface OutboxRow {
  readonly position: CommitPosition & { readonly store: string | null };
}

/** After a restore or a fail-over positions mean other transactions: everything is published again. */
async function nextPage(database: Database, { store, ...position }: OutboxRow['position'], limit: number) {
  const page = await deviceEventsAfter(database, { position, limit });
  return store === null || store === page.store
    ? page
    : deviceEventsAfter(database, { position: beginningOfCommits, limit });
}
