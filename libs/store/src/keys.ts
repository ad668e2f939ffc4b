import { createHash } from 'node:crypto';
import type pg from 'pg';
import { TwoGenerationCache } from './two-generation-cache.ts';

/** A stream (one boot of one device) in the database's own short keys. */
export interface StreamKeys {
  readonly deviceKey: number;
  readonly streamKey: number;
}

/** An ordered list of metric names. The one without names always exists, and is used where no other shape may be created. */
export interface Shape {
  readonly key: number;
  readonly names: readonly string[];
}

const noShape: Shape = { key: 0, names: [] };

const streamsCachedMax = 200_000;
const shapesCachedMax = 4_000;

const shapeNameCharactersMax = 1_024;

/**
 * Finds and registers devices, streams and shapes. Each step commits on its own, before the batch that needs it: writers never wait for
 * each other's batches here, and cached keys are always valid. So a device may be registered before its first reading is stored.
 */
export class Keys {
  readonly #pool: pg.Pool;
  readonly #shapesMax: number;
  readonly #streams = new TwoGenerationCache<StreamKeys>(streamsCachedMax);
  readonly #shapes = new TwoGenerationCache<Shape>(shapesCachedMax);

  constructor(pool: pg.Pool, shapesMax: number) {
    this.#pool = pool;
    this.#shapesMax = shapesMax;
  }

  /** Keys of each element, in order. */
  async streams(elements: readonly { readonly deviceId: string; readonly epoch: string }[]): Promise<StreamKeys[]> {
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

  /** Shapes of each list of names, in order; their names are sorted. Beyond `shapesMax` shapes a new list gets {@link noShape}. */
  async shapes(lists: readonly (readonly string[])[]): Promise<Shape[]> {
    return lookUpCached(lists, shapeName, this.#shapes, async (uncached) => {
      const digests = new Map([...uncached].map(([name, names]) => [name, shapeDigest(names)]));
      let found = await this.#findShapes([...digests.values()]);
      const missing = [...uncached].filter(([name]) => !found.has(hex(digests.get(name)))).map(([, names]) => names);
      if (missing.length > 0) {
        await this.#registerShapes(missing);
        found = await this.#findShapes([...digests.values()]);
      }
      return new Map([...digests].map(([name, digest]) => [name, found.get(hex(digest)) ?? noShape]));
    });
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
  async #register(missing: readonly { deviceId: string; epoch: string }[]): Promise<void> {
    await this.#pool.query(
      `insert into devices (device_id)
       select distinct w.device_id from unnest($1::text[]) as w (device_id)
       where not exists (select from devices d where d.device_id = w.device_id)
       order by 1 on conflict do nothing`,
      [missing.map(({ deviceId }) => deviceId)],
    );
    await this.#pool.query(
      `insert into streams (device_key, epoch)
       select d.device_key, w.epoch from unnest($1::text[], $2::text[]) as w (device_id, epoch) join devices d using (device_id)
       where not exists (select from streams s where s.device_key = d.device_key and s.epoch = w.epoch)
       order by 1, 2 on conflict do nothing`,
      columns(missing),
    );
  }

  async #findShapes(digests: readonly Buffer[]): Promise<Map<string, Shape>> {
    const { rows } = await this.#pool.query<{ shape_key: number; names: string[]; digest: Buffer }>(
      'select shape_key, names, digest from shapes where digest = any($1::bytea[])',
      [digests],
    );
    return new Map(rows.map((row) => [hex(row.digest), { key: row.shape_key, names: row.names }]));
  }

  /** Writers at the same moment may exceed `shapesMax` by the shapes that each of them adds. */
  async #registerShapes(missing: readonly (readonly string[])[]): Promise<void> {
    const names = missing.map((list) => JSON.stringify([...list].sort()));
    await this.#pool.query(
      `insert into shapes (digest, names)
       select distinct on (w.digest) w.digest, array(select jsonb_array_elements_text(w.names::jsonb))
       from unnest($1::bytea[], $2::text[]) as w (digest, names)
       where not exists (select from shapes s where s.digest = w.digest)
       order by w.digest limit greatest(0, $3 - (select count(*) from shapes)) on conflict do nothing`,
      [missing.map(shapeDigest), names, this.#shapesMax],
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
    if (value === undefined) uncached.set(name, element);
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

/** Names contain no control characters. A long list is cached by its digest, which bounds the cache in bytes, too. */
function shapeName(names: readonly string[]): string {
  const joined = names.join('\n');
  return joined.length > shapeNameCharactersMax ? hex(shapeDigest(names)) : joined;
}

function shapeDigest(names: readonly string[]): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([...names].sort()))
    .digest();
}

function hex(digest: Buffer | undefined): string {
  return digest?.toString('hex') ?? '';
}

function columns(streams: readonly { deviceId: string; epoch: string }[]): [string[], string[]] {
  return [streams.map(({ deviceId }) => deviceId), streams.map(({ epoch }) => epoch)];
}
