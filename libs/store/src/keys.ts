import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { timestamptzArray } from './binary-arrays.ts';
import { TwoGenerationCache } from './two-generation-cache.ts';

/** A stream (one boot of one device) in the database's own short keys. */
export interface StreamKeys {
  readonly deviceKey: number;
  readonly streamKey: number;
}

const streamsCachedMax = 200_000;

/**
 * Finds and registers devices and streams. Each step commits on its own, before the batch that needs it: writers never wait for
 * each other's batches here, and cached keys are always valid. So a device may be registered before its first reading is stored.
 */
export class Keys {
  readonly #pool: pg.Pool;
  readonly #streams = new TwoGenerationCache<StreamKeys>(streamsCachedMax);

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /** Keys of each element, in order. A new device or stream was first seen when the first of its elements was received. */
  async streams(
    elements: readonly Pick<IdentifiedReading, 'deviceId' | 'epoch' | 'receivedAt'>[],
  ): Promise<StreamKeys[]> {
    return lookUpCached(
      elements,
      ({ deviceId, epoch }) => streamName(deviceId, epoch),
      this.#streams,
      async (uncached) => {
        const wanted = [...uncached.values()];
        const found = await this.#findStreams(wanted);
        const missing = wanted.filter(({ deviceId, epoch }) => !found.has(streamName(deviceId, epoch)));
        if (missing.length === 0) return found;
        await this.#register(missing);
        return new Map([...found, ...(await this.#findStreams(missing))]);
      },
    );
  }

  async #findStreams(wanted: readonly { deviceId: string; epoch: string }[]): Promise<Map<string, StreamKeys>> {
    const { rows } = await this.#pool.query<{
      device_id: string;
      epoch: string;
      device_key: number;
      stream_key: number;
    }>(
      `select d.device_id, s.epoch, s.device_key, s.stream_key
       from unnest($1::text[], $2::text[]) as w (device_id, epoch) join devices d using (device_id) join streams s using (device_key, epoch)`,
      columns(wanted),
    );
    return new Map(
      rows.map((row) => [
        streamName(row.device_id, row.epoch),
        { deviceKey: row.device_key, streamKey: row.stream_key },
      ]),
    );
  }

  /** Looks first, because an insert that conflicts uses up a key. */
  async #register(missing: readonly Pick<IdentifiedReading, 'deviceId' | 'epoch' | 'receivedAt'>[]): Promise<void> {
    // On the clock of the edge, as all later sightings are.
    const receivedAt = timestamptzArray(missing.map((reading) => reading.receivedAt));
    await this.#pool.query(
      `insert into devices (device_id, first_seen_at)
       select w.device_id, min(w.received_at) from unnest($1::text[], $2::timestamptz[]) as w (device_id, received_at)
       where not exists (select from devices d where d.device_id = w.device_id)
       group by 1 order by 1 on conflict do nothing`,
      [missing.map(({ deviceId }) => deviceId), receivedAt],
    );
    await this.#pool.query(
      `insert into streams (device_key, epoch, first_seen_at)
       select d.device_key, w.epoch, w.received_at
       from unnest($1::text[], $2::text[], $3::timestamptz[]) as w (device_id, epoch, received_at) join devices d using (device_id)
       where not exists (select from streams s where s.device_key = d.device_key and s.epoch = w.epoch)
       order by 1, 2 on conflict do nothing`,
      [...columns(missing), receivedAt],
    );
  }
}

/** Returns cached values; the missing ones are queried together, once, and cached. */
async function lookUpCached<Element, Value>(
  elements: readonly Element[],
  nameOf: (element: Element) => string,
  cache: TwoGenerationCache<Value>,
  load: (uncached: ReadonlyMap<string, Element>) => Promise<ReadonlyMap<string, Value>>,
): Promise<Value[]> {
  const values: (Value | undefined)[] = [];
  const uncached = new Map<string, Element>();
  for (const element of elements) {
    const name = nameOf(element);
    const value = cache.get(name);
    values.push(value);
    if (value === undefined && !uncached.has(name)) uncached.set(name, element);
  }
  if (uncached.size === 0) return values as Value[];

  const answers = await load(uncached);
  for (const [name, value] of answers) cache.set(name, value);
  return values.map((value, index) => {
    const answer = value ?? answers.get(nameOf(elements[index] as Element));
    if (answer === undefined) throw new Error('a key that was just registered is missing');
    return answer;
  });
}

function streamName(deviceId: string, epoch: string): string {
  return `${deviceId}\n${epoch}`;
}

function columns(streams: readonly { deviceId: string; epoch: string }[]): [string[], string[]] {
  return [streams.map(({ deviceId }) => deviceId), streams.map(({ epoch }) => epoch)];
}
