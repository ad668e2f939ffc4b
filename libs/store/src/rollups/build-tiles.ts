import pg from 'pg';
import { int4Array, int8Array } from '../binary-arrays.ts';
import { ensureRollupPartitions } from './rollup-partitions.ts';
import { type TileKind, type TileSpan, tileKinds, tileStatement } from './tile-statement.ts';

/** Built tiles by kind, and the readings that were read for it. */
export interface BuiltTiles {
  readonly tiles: Readonly<Record<TileKind, number>>;
  readonly readings: number;
}

export interface BuildOptions {
  /** The hour from which on rollups of minutes are kept. */
  readonly minutesFrom: number;
  /** The readings are about to be dropped: every tile gets rollups. */
  readonly isFinal?: boolean;
  /** Marks to clear, in the versions that were read before. */
  readonly marks?: readonly TileMark[];
}

export interface TileMark {
  readonly deviceKey: number;
  readonly hour: number;
  readonly version: number;
}

export const nothingBuilt: BuiltTiles = { tiles: { raw: 0, hour: 0, minutes: 0 }, readings: 0 };

/**
 * Builds the tiles of the spans again, in one transaction. Spans that Postgres cannot build, because of their data or of their size, are
 * halved; a single tile that it cannot build is read raw.
 */
export async function buildTiles(
  client: pg.ClientBase,
  spans: readonly TileSpan[],
  options: BuildOptions,
): Promise<BuiltTiles> {
  if (spans.length === 0) return nothingBuilt;
  await ensureRollupPartitions(client, spans);
  try {
    return await build(client, spans, options);
  } catch (error) {
    await client.query('rollback');
    if (!isRefused(error)) throw error;
    const [left, right] = halves(spans);
    if (right === undefined) {
      // Later the tile may be built: its readings are not dropped before.
      if (options.isFinal === true && !isOfData(error)) throw error;
      return enterRaw(client, spans[0]!, options);
    }
    return sumOf(await buildTiles(client, left, options), await buildTiles(client, right, options));
  }
}

/** Memory of one sort or hash table of a build. */
const workMem = '32MB';

async function build(client: pg.ClientBase, spans: readonly TileSpan[], options: BuildOptions): Promise<BuiltTiles> {
  const { isFinal = false, minutesFrom, marks = [] } = options;
  await client.query(`begin; set local jit = off; set local work_mem = '${workMem}'`);
  await deleteTiles(client, spans);
  // Joins of intermediate results, whose size Postgres cannot know, by hash.
  await client.query('set local enable_nestloop = off; set local enable_mergejoin = off');
  const { rows } = await client.query<{ kind: number; tiles: number; readings: number }>(
    tileStatement(spans, isFinal),
    [...columns(spans), minutesFrom],
  );
  await clearMarks(client, spans, marks);
  await client.query('commit');
  const tiles = { ...nothingBuilt.tiles };
  for (const row of rows) tiles[tileKinds[row.kind]!] += row.tiles;
  return { tiles, readings: rows.reduce((sum, row) => sum + row.readings, 0) };
}

/** Of these spans, with their rollups. A row of `tiles` names the metrics, so that each rollup is found by its key. */
export async function deleteTiles(client: pg.ClientBase, spans: readonly TileSpan[]): Promise<number> {
  const from = Math.min(...spans.map(({ fromHour }) => fromHour));
  const to = Math.max(...spans.map(({ toHour }) => toHour));
  const { rows } = await client.query<{ device_key: number; hour: number; metric_keys: number[] | null }>(
    `delete from tiles t using unnest($1::int4[], $2::int4[], $3::int4[]) as s (device_key, from_hour, to_hour)
     where t.device_key = s.device_key and t.hour >= s.from_hour and t.hour < s.to_hour and t.hour >= ${from} and t.hour < ${to}
     returning t.device_key, t.hour, t.metric_keys`,
    columns(spans),
  );
  const keys = rows.flatMap(({ device_key, hour, metric_keys }) =>
    (metric_keys ?? []).map((metric) => ({ device_key, hour, metric })),
  );
  if (keys.length === 0) return rows.length;
  const values = [
    int4Array(keys.map(({ device_key }) => device_key)),
    int4Array(keys.map(({ metric }) => metric)),
    int4Array(keys.map(({ hour }) => hour)),
  ];
  const deleted = 'unnest($1::int4[], $2::int4[], $3::int4[]) as k (device_key, metric_key, hour)';
  await client.query(
    `delete from rollup_1h r using ${deleted}
     where (r.device_key, r.metric_key, r.hour) = (k.device_key, k.metric_key, k.hour) and r.hour >= ${from} and r.hour < ${to}`,
    values,
  );
  await client.query(
    `delete from rollup_1m r using ${deleted}
     where (r.device_key, r.metric_key) = (k.device_key, k.metric_key) and r.minute >= k.hour * 60 and r.minute < k.hour * 60 + 60
       and r.minute >= ${from * 60} and r.minute < ${to * 60}`,
    values,
  );
  return rows.length;
}

/** A mark that a writer has raised since, or holds now, stays: its readings may not be in what was built. */
async function clearMarks(
  client: pg.ClientBase,
  spans: readonly TileSpan[],
  marks: readonly TileMark[],
): Promise<void> {
  const isBuilt = new Set(spans.map(({ deviceKey, fromHour }) => `${deviceKey}/${fromHour}`));
  const cleared = marks.filter(({ deviceKey, hour }) => isBuilt.has(`${deviceKey}/${hour}`));
  if (cleared.length === 0) return;
  await client.query(
    `delete from rollup_marks where ctid = any(array(
       select m.ctid from rollup_marks m
       join unnest($1::int4[], $2::int4[], $3::int8[]) as b (device_key, hour, version) on (m.device_key, m.hour) = (b.device_key, b.hour)
       where m.version = b.version
       for update of m skip locked))`,
    [
      int4Array(cleared.map(({ deviceKey }) => deviceKey)),
      int4Array(cleared.map(({ hour }) => hour)),
      int8Array(cleared.map(({ version }) => version)),
    ],
  );
}

/** A tile that Postgres cannot build. */
async function enterRaw(client: pg.ClientBase, span: TileSpan, { marks = [] }: BuildOptions): Promise<BuiltTiles> {
  await client.query('begin');
  try {
    await deleteTiles(client, [span]);
    const { rows } = await client.query<{ readings: number }>(
      `insert into tiles (device_key, hour, readings, kind, version_xid)
       select $1::int4, $2::int4, count(*), 0, pg_current_xact_id()::text::int8 from readings
       where device_key = $1::int4 and ts >= to_timestamp($2 * 3600.0) and ts < to_timestamp($2 * 3600.0 + 3600)
       returning readings`,
      [span.deviceKey, span.fromHour],
    );
    await clearMarks(client, [span], marks);
    await client.query('commit');
    return { tiles: { ...nothingBuilt.tiles, raw: 1 }, readings: rows[0]?.readings ?? 0 };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** Because of the data, of the time it took (57014), or of the memory (53200). */
function isRefused(error: unknown): boolean {
  return isOfData(error) || (error instanceof pg.DatabaseError && /^(?:57014|53200)/.test(error.code ?? ''));
}

function isOfData(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code?.startsWith('22') === true;
}

function halves(spans: readonly TileSpan[]): [TileSpan[], TileSpan[] | undefined] {
  const middle = spans.length >>> 1;
  if (middle > 0) return [spans.slice(0, middle), spans.slice(middle)];
  const { deviceKey, fromHour, toHour } = spans[0]!;
  const cut = (fromHour + toHour) >>> 1;
  if (cut === fromHour) return [[...spans], undefined];
  return [[{ deviceKey, fromHour, toHour: cut }], [{ deviceKey, fromHour: cut, toHour }]];
}

export function sumOf(one: BuiltTiles, other: BuiltTiles): BuiltTiles {
  return {
    tiles: {
      raw: one.tiles.raw + other.tiles.raw,
      hour: one.tiles.hour + other.tiles.hour,
      minutes: one.tiles.minutes + other.tiles.minutes,
    },
    readings: one.readings + other.readings,
  };
}

function columns(spans: readonly TileSpan[]): Buffer[] {
  return [
    int4Array(spans.map(({ deviceKey }) => deviceKey)),
    int4Array(spans.map(({ fromHour }) => fromHour)),
    int4Array(spans.map(({ toHour }) => toHour)),
  ];
}
