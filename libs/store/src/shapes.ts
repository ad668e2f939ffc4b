import { createHash } from 'node:crypto';
import type pg from 'pg';
import { TwoGenerationCache } from './two-generation-cache.ts';

/** An ordered list of metric names. The one without names always exists, and is used where no other shape may be created. */
export interface Shape {
  readonly key: number;
  readonly names: readonly string[];
}

export interface ShapeBounds {
  /** Shapes in the dictionary. At most 30,000: a shape's key has two bytes. */
  readonly shapesMax: number;
  /** Shapes that one device may add to the dictionary; it may use any number of those that exist. */
  readonly shapesPerDeviceMax: number;
}

interface Wanted {
  readonly deviceKey: number;
  readonly names: readonly string[];
}

const noShape: Shape = { key: 0, names: [] };

const shapesCachedMax = 4_000;
const devicesCachedMax = 10_000;

const nameCharactersMax = 1_024;

/** Finds and registers shapes. Each step commits on its own, before the batch that needs it; shapes are never deleted, so the cache is valid. */
export class Shapes {
  readonly #pool: pg.Pool;
  readonly #bounds: ShapeBounds;
  readonly #known = new TwoGenerationCache<Shape>(shapesCachedMax);
  /** Devices that may add no more shapes. */
  readonly #exhausted = new TwoGenerationCache<true>(devicesCachedMax);
  /** Lists of such devices that have no shape. By device: another one may still add the same list. */
  readonly #refused = new TwoGenerationCache<Shape>(shapesCachedMax);
  #count = 0;

  constructor(pool: pg.Pool, bounds: ShapeBounds) {
    this.#pool = pool;
    this.#bounds = bounds;
  }

  /** How many shapes there were when a device last added one, or {@link countAgain} was called. */
  get count(): number {
    return this.#count;
  }

  async countAgain(): Promise<void> {
    const { rows } = await this.#pool.query<{ count: number }>('select count(*) from shapes');
    this.#count = rows[0]?.count ?? 0;
  }

  /** Shapes of each list of names, in order; their names are sorted. Beyond the bounds a new list gets {@link noShape}. */
  async of(lists: readonly Wanted[]): Promise<Shape[]> {
    const shapes = lists.map((wanted) => this.#cached(wanted));
    const unknown = [...shapes.keys()].filter((index) => shapes[index] === undefined);
    if (unknown.length === 0) return shapes as Shape[];

    const digests = new Map(unknown.map((index) => [index, shapeDigest((lists[index] as Wanted).names)]));
    const wanted = new Map([...digests].map(([index, digest]) => [digest, lists[index] as Wanted]));
    for (const [index, digest] of digests) {
      // Of the devices that send a list, one that may still add it.
      const list = lists[index] as Wanted;
      if (!this.#isExhausted(list)) wanted.set(digest, list);
    }
    let found = await this.#find([...wanted.keys()]);
    const missing = [...wanted].filter(([digest, list]) => !found.has(digest) && !this.#isExhausted(list));
    if (missing.length > 0) {
      await this.#register(missing);
      found = await this.#find([...wanted.keys()]);
      for (const [digest, { deviceKey }] of missing)
        if (!found.has(digest)) this.#exhausted.set(String(deviceKey), true);
    }
    for (const [index, digest] of digests) {
      const list = lists[index] as Wanted;
      const shape = found.get(digest);
      shapes[index] = shape ?? noShape;
      if (shape !== undefined) this.#known.set(listName(list.names), shape);
      else if (this.#isExhausted(list)) this.#refused.set(refusedName(list), noShape);
    }
    return shapes as Shape[];
  }

  #cached(list: Wanted): Shape | undefined {
    if (list.names.length === 0) return noShape;
    const known = this.#known.get(listName(list.names));
    if (known !== undefined || this.#refused.size === 0) return known;
    return this.#refused.get(refusedName(list));
  }

  #isExhausted({ deviceKey }: Wanted): boolean {
    return this.#exhausted.get(String(deviceKey)) !== undefined;
  }

  async #find(digests: readonly string[]): Promise<Map<string, Shape>> {
    const { rows } = await this.#pool.query<{ shape_key: number; names: string[]; digest: Buffer }>(
      'select shape_key, names, digest from shapes where digest = any($1::bytea[])',
      [digests.map((digest) => Buffer.from(digest, 'hex'))],
    );
    return new Map(rows.map((row) => [row.digest.toString('hex'), { key: row.shape_key, names: row.names }]));
  }

  /** Writers at the same moment may exceed the bounds by the shapes that each of them adds. */
  async #register(missing: readonly (readonly [string, Wanted])[]): Promise<void> {
    const { shapesMax, shapesPerDeviceMax } = this.#bounds;
    await this.#pool.query(
      `insert into shapes (digest, names, device_key)
       select n.digest, array(select jsonb_array_elements_text(n.names::jsonb)), n.device_key
       from (
         select w.*, row_number() over (partition by w.device_key order by w.digest) as nth_of_device
         from unnest($1::bytea[], $2::text[], $3::int4[]) as w (digest, names, device_key)
         where not exists (select from shapes s where s.digest = w.digest)
       ) as n
       where n.nth_of_device <= $4 - (select count(*) from shapes s where s.device_key = n.device_key)
       order by n.digest limit greatest(0, $5 - (select count(*) from shapes)) on conflict do nothing`,
      [
        missing.map(([digest]) => Buffer.from(digest, 'hex')),
        missing.map(([, { names }]) => JSON.stringify([...names].sort())),
        missing.map(([, { deviceKey }]) => deviceKey),
        shapesPerDeviceMax,
        shapesMax,
      ],
    );
    await this.countAgain();
  }
}

/** Names contain no control characters. A long list is cached by its digest, which bounds the cache in bytes, too. */
function listName(names: readonly string[]): string {
  const joined = names.join('\n');
  return joined.length > nameCharactersMax ? shapeDigest(names) : joined;
}

function refusedName({ deviceKey, names }: Wanted): string {
  return `${deviceKey}\n${listName(names)}`;
}

function shapeDigest(names: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([...names].sort()))
    .digest('hex');
}
