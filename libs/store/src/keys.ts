import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { timestamptzArray } from './binary-arrays.ts';
import { StreamLimitError } from './failure.ts';
import { TwoGenerationCache } from './two-generation-cache.ts';

/** A stream (one boot of one device) in the database's own short keys. */
export interface StreamKeys {
  readonly deviceKey: number;
  readonly streamKey: number;
}

const streamsCachedMax = 200_000;
const fullDevicesMax = 20_000;
/** How long a device that has reached the bound is remembered as full, in milliseconds of the arrival of its readings. */
const fullForMs = 60_000;

/**
 * Finds and registers devices and streams. Each step commits on its own, before the batch that needs it: writers never wait for
 * each other's batches here, and cached keys are always valid. So a device may be registered before its first reading is stored.
 */
export class Keys {
  readonly #pool: pg.Pool;
  readonly #streamsPerDeviceDayMax: number;
  #streams = new TwoGenerationCache<StreamKeys>(streamsCachedMax);
  /** Of devices that begin too many streams: until which arrival no more of them are registered. Otherwise each batch would count them again. */
  #fullUntil = new TwoGenerationCache<number>(fullDevicesMax);

  constructor(pool: pg.Pool, { streamsPerDeviceDayMax }: { readonly streamsPerDeviceDayMax: number }) {
    this.#pool = pool;
    this.#streamsPerDeviceDayMax = streamsPerDeviceDayMax;
  }

  /** Looks all streams up again: one may have been forgotten. */
  forget(): void {
    this.#streams = new TwoGenerationCache<StreamKeys>(streamsCachedMax);
    this.#fullUntil = new TwoGenerationCache<number>(fullDevicesMax);
  }

  /**
   * Keys of each reading, in order. A new device or stream was first seen when the first of its readings was received.
   * @throws StreamLimitError where a device begins too many streams
   */
  async streams(readings: readonly IdentifiedReading[]): Promise<StreamKeys[]> {
    const keys = await lookUpCached(
      readings,
      ({ deviceId, epoch }) => streamName(deviceId, epoch),
      this.#streams,
      async (uncached) => {
        const wanted = [...uncached.values()];
        const found = await this.#findStreams(wanted);
        const missing = wanted.filter(({ deviceId, epoch }) => !found.has(streamName(deviceId, epoch)));
        const begun = missing.filter(({ deviceId, receivedAt }) => receivedAt >= (this.#fullUntil.get(deviceId) ?? 0));
        if (begun.length === 0) return found;
        await this.#register(begun);
        const registered = await this.#findStreams(begun);
        for (const { deviceId, epoch, receivedAt } of begun)
          if (!registered.has(streamName(deviceId, epoch))) this.#fullUntil.set(deviceId, receivedAt + fullForMs);
        return new Map([...found, ...registered]);
      },
    );
    const refused = readings.filter((_, index) => keys[index] === undefined);
    if (refused.length > 0) throw new StreamLimitError(refused, this.#streamsPerDeviceDayMax);
    return keys as StreamKeys[];
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

  /**
   * Looks first, because an insert that conflicts uses up a key. Writers at the same moment may exceed the bound by the streams that each
   * of them adds.
   */
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
    // Materialized: the streams of a device are counted once, and not for each that it begins.
    await this.#pool.query(
      `with begun as materialized (
         select d.device_key, w.epoch, w.received_at, row_number() over (partition by d.device_key order by w.received_at, w.epoch) as nth
         from unnest($1::text[], $2::text[], $3::timestamptz[]) as w (device_id, epoch, received_at) join devices d using (device_id)
         where not exists (select from streams s where s.device_key = d.device_key and s.epoch = w.epoch)
       ), counted as materialized (
         select b.device_key, (
           select count(*) from streams s where s.device_key = b.device_key and s.first_seen_at > b.received_at - interval '1 day') as known
         from (select device_key, max(received_at) as received_at from begun group by 1) as b
       )
       insert into streams (device_key, epoch, first_seen_at)
       select b.device_key, b.epoch, b.received_at from begun b join counted c using (device_key)
       where b.nth <= $4 - c.known
       order by 1, 2 on conflict do nothing`,
      [...columns(missing), receivedAt, this.#streamsPerDeviceDayMax],
    );
  }
}

/** Returns cached values; the missing ones are queried together, once, and cached. Undefined where there is none. */
async function lookUpCached<Element, Value>(
  elements: readonly Element[],
  nameOf: (element: Element) => string,
  cache: TwoGenerationCache<Value>,
  load: (uncached: ReadonlyMap<string, Element>) => Promise<ReadonlyMap<string, Value>>,
): Promise<(Value | undefined)[]> {
  const values: (Value | undefined)[] = [];
  const uncached = new Map<string, Element>();
  for (const element of elements) {
    const name = nameOf(element);
    const value = cache.get(name);
    values.push(value);
    if (value === undefined && !uncached.has(name)) uncached.set(name, element);
  }
  if (uncached.size === 0) return values;

  const answers = await load(uncached);
  for (const [name, value] of answers) cache.set(name, value);
  return values.map((value, index) => value ?? answers.get(nameOf(elements[index] as Element)));
}

function streamName(deviceId: string, epoch: string): string {
  return `${deviceId}\n${epoch}`;
}

function columns(streams: readonly { deviceId: string; epoch: string }[]): [string[], string[]] {
  return [streams.map(({ deviceId }) => deviceId), streams.map(({ epoch }) => epoch)];
}
