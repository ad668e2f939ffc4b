import type { Logger } from '@fleetwire/runtime/logger';
import { devicesCameOnline } from '@fleetwire/store/commands/dispatch';
import type { Database } from '@fleetwire/store/database';
import { asPresenceOwner } from '@fleetwire/store/presence/write-presence';
import { writeSending } from '@fleetwire/store/presence/write-sending';
import type { PresenceEvents } from './change-events.ts';

/** Bounds the work of one look; a larger fleet takes several, one after each step of presence. */
const devicesPerLookMax = 5_000;
/** From the begin of one round over all devices to that of the next, at least. */
const roundMs = 5_000;

export interface SendingDevicesOptions {
  readonly pool: Database['pool'];
  readonly worker: string;
  readonly events: PresenceEvents;
  readonly logger: Logger;
}

/** Finds in the latest state which devices are silent, and which send without a connection. For the worker that owns presence. */
export class SendingDevices {
  readonly #options: SendingDevicesOptions;
  #after = 0;
  #nextRoundAt = 0;
  #isFailing = false;

  constructor(options: SendingDevicesOptions) {
    this.#options = options;
  }

  /** Does not throw: connections go on being reported where this fails. */
  async look(): Promise<void> {
    const { pool, worker, events, logger } = this.#options;
    if (this.#after === 0) {
      if (performance.now() < this.#nextRoundAt) return;
      this.#nextRoundAt = performance.now() + roundMs;
    }
    try {
      const looked: Awaited<ReturnType<typeof writeSending>>[] = [];
      await asPresenceOwner(pool, {
        worker,
        takesOver: false,
        step: async (client) => {
          const found = await writeSending(client, { after: this.#after, devicesMax: devicesPerLookMax });
          const online = found.changes.filter(({ status }) => status === 'online');
          await devicesCameOnline(
            client,
            online.map(({ deviceId }) => deviceId),
          );
          looked.push(found);
        },
      });
      this.#after = looked[0]?.last ?? 0;
      for (const { changes } of looked) events.publish(changes);
      this.#isFailing = false;
    } catch (error) {
      this.#after = 0;
      if (!this.#isFailing) logger.warn({ err: error }, 'failed to look for silent devices; retrying');
      this.#isFailing = true;
    }
  }
}
