import type { LiveDevice } from '@fleetwire/contracts/live-devices';
import { failureOf, linesOf } from './history-client.ts';
import type { LiveFilter } from './live-filter.ts';

/** A bound on devices is reached. */
export class TooManyDevices extends Error {}

export interface DeviceClient {
  /**
   * Which devices a filter selects now, read with the subscriber's own token.
   * @throws {HistoryRefusal} or any other error for a failure that may pass
   */
  read(
    filter: LiveFilter,
    of: {
      /** What is read of each device beside its id and version. */
      readonly events: readonly ('presence' | 'registry')[];
      readonly token: string | undefined;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<LiveDevice>;
}

/** `POST /api/v1/live/devices` of query-api. */
export function createDeviceClient(queryApiUrl: string | Promise<string>): DeviceClient {
  return {
    async *read({ devices, patterns, tags, deviceType }, { events, token, signal }) {
      const response = await fetch(new URL('/api/v1/live/devices', await queryApiUrl), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({
          filter: { devices, patterns, tags, deviceType },
          ...(events.length === 0 ? {} : { events }),
        }),
        signal,
      });
      if (!response.ok || response.body === null) throw await failureOf(response, 'the registry');
      for await (const line of linesOf(response.body)) {
        const value = JSON.parse(line) as LiveDevice | { end: number };
        if ('end' in value) return;
        yield value;
      }
      throw new Error('the list of devices was cut off');
    },
  };
}
