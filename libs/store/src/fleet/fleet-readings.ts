import { type RawBuilder, sql, type SqlBool } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { type ReadingRow, type StoredReading, toReading } from '../readers.ts';
import { namesOfShapes } from '../stored-metrics.ts';

/** The place of a reading among those of all devices: no two devices share a stream. */
export interface FleetPosition {
  /** Device time, or that of the arrival, as the list is sorted. Epoch milliseconds, as all times here. */
  readonly at: number;
  readonly streamKey: number;
  readonly seq: number;
}

export interface FleetReadingsQuery extends PageBounds {
  readonly deviceKeys: readonly number[];
  /** Half-open, of device time. */
  readonly from: number;
  readonly to: number;
  readonly metrics?: readonly string[] | undefined;
  /** Only readings that arrived since. */
  readonly receivedSince?: number | undefined;
  readonly by: 'ts' | 'receivedAt';
  readonly order: 'asc' | 'desc';
  readonly after?: FleetPosition | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FleetReading extends StoredReading {
  readonly deviceKey: number;
}

/** The first window of time that is searched for a page; each following one is longer, until the page is full. */
const firstWindowMs = 1_000;
const windowFactor = 4;

/** Readings of many devices in a stable order: by time, then stream, then sequence number. */
export async function fleetReadings(database: Database, query: FleetReadingsQuery): Promise<FleetReading[]> {
  const { by, order, after, signal, deviceKeys } = query;
  const wanted = query.metrics === undefined ? undefined : new Set(query.metrics);
  if (deviceKeys.length === 0) return [];
  const windows = by === 'ts' ? windowsOf(await boundsOf(database, query), order) : [query][Symbol.iterator]();
  let window = windows.next().value;
  return collectRows<FleetReading>(query, async ({ limit, bytesMax }, last) => {
    if (window === undefined) return { rows: [], isCut: false };
    const position = last === undefined ? after : positionOf(last, by);
    const select = by === 'ts' ? byDeviceTime : byArrival;
    const statement = select({ ...query, ...window, limit, after: position });
    const { rows, isCut } = await fetchUpTo(database, statement, {
      documents: ['others'],
      numbers: ['numbers'],
      bytesMax,
      signal,
    });
    if (!isCut && rows.length < limit) window = windows.next().value;
    const names = await namesOfShapes(database, new Set(rows.map((row) => row.shape_key)), signal);
    return {
      rows: rows.map((row) => ({
        ...toReading(row, names.get(row.shape_key) ?? [], wanted),
        deviceKey: row.device_key,
      })),
      isCut: isCut || window !== undefined,
    };
  });
}

export function positionOf(
  { ts, receivedAt, position }: Pick<FleetReading, 'ts' | 'receivedAt' | 'position'>,
  by: FleetReadingsQuery['by'],
): FleetPosition {
  return { at: by === 'ts' ? ts : receivedAt, streamKey: position.streamKey, seq: position.seq };
}

interface Window {
  readonly from: number;
  readonly to: number;
}

/** Of the page: where devices have readings at all. */
async function boundsOf(
  { db, pool }: Database,
  { deviceKeys, from, to, order, after, signal }: FleetReadingsQuery,
): Promise<Window> {
  const query = sql<{ oldest: number | null; newest: number | null }>`
    select min(from_ts) as oldest, max(to_ts) as newest from device_periods
    where device_key = any(${deviceKeys}::int4[]) and to_ts > ${at(from)} and from_ts < ${at(to)}`;
  const [found] = await fetchRows(pool, query.compile(db), signal);
  // The newest period reaches into the future.
  const newest = sql<{ ts: number | null }>`
    select max(q.ts) as ts from unnest(${deviceKeys}::int4[]) as d (device_key) cross join lateral (
      select r.ts from readings r where r.device_key = d.device_key and r.ts >= ${at(from)} and r.ts < ${at(to)} order by r.ts desc limit 1
    ) as q`;
  const [last] = order === 'asc' ? [] : await fetchRows(pool, newest.compile(db), signal);
  const end = last === undefined ? (found?.newest ?? from) : (last.ts ?? from - 1) + 1;
  return {
    from: Math.max(from, found?.oldest ?? to, order === 'asc' ? (after?.at ?? from) : from),
    to: Math.min(to, end, order === 'desc' && after !== undefined ? after.at + 1 : to),
  };
}

function* windowsOf({ from, to }: Window, order: 'asc' | 'desc'): Generator<Window, undefined> {
  let length = firstWindowMs;
  for (let done = 0; done < to - from; length *= windowFactor) {
    const next = Math.min(to - from, done + length);
    yield order === 'asc' ? { from: from + done, to: from + next } : { from: to - next, to: to - done };
    done = next;
  }
  return undefined;
}

type Row = ReadingRow & { readonly device_key: number };
type Select = (query: FleetReadingsQuery) => RawBuilder<Row>;

const columns = sql`r.device_key, r.seq, r.ts, r.received_at, r.stream_key, r.shape_key, r.numbers, r.others`;

/** Of each device as many as the page may have at most: they are next to each other in the index. */
const byDeviceTime: Select = (query) => {
  const { deviceKeys, limit } = query;
  const order = orderBy(query);
  return sql<Row>`(
    select s.epoch, r.* from (
      select r.* from unnest(${deviceKeys}::int4[]) as d (device_key) cross join lateral (
        select ${columns} from readings r where r.device_key = d.device_key and ${isWanted(query)} order by ${order} limit ${limit}
      ) as r order by ${order} limit ${limit}
    ) as r join streams s on s.stream_key = r.stream_key order by ${order})`;
};

/** No index has the order of arrival: all readings of the range are looked at. */
const byArrival: Select = (query) => {
  const { deviceKeys, limit } = query;
  const order = orderBy(query);
  return sql<Row>`(
    select s.epoch, r.* from (
      select ${columns} from readings r where r.device_key = any(${deviceKeys}::int4[]) and ${isWanted(query)} order by ${order} limit ${limit}
    ) as r join streams s on s.stream_key = r.stream_key order by ${order})`;
};

function orderBy({ by, order }: FleetReadingsQuery): RawBuilder<unknown> {
  const direction = sql.raw(order);
  return sql`r.${timeColumn(by)} ${direction}, r.stream_key ${direction}, r.seq ${direction}`;
}

function isWanted({ from, to, by, order, after, metrics, receivedSince }: FleetReadingsQuery): RawBuilder<SqlBool> {
  const conditions = [sql<SqlBool>`r.ts >= ${at(from)} and r.ts < ${at(to)}`];
  if (receivedSince !== undefined) conditions.push(sql`r.received_at >= ${at(receivedSince)}`);
  if (metrics !== undefined)
    conditions.push(
      sql`(r.shape_key = any(array(select sh.shape_key from shapes sh where sh.names && ${metrics}::text[])) or r.others ?| ${metrics}::text[])`,
    );
  if (after !== undefined)
    conditions.push(
      sql`(r.${timeColumn(by)}, r.stream_key, r.seq) ${order === 'asc' ? sql`>` : sql`<`} (${at(after.at)}, ${after.streamKey}::int4, ${after.seq}::int8)`,
    );
  return sql.join(conditions, sql` and `);
}

function timeColumn(by: FleetReadingsQuery['by']): RawBuilder<unknown> {
  return by === 'ts' ? sql`ts` : sql`received_at`;
}

function at(epochMs: number): RawBuilder<number> {
  return sql`${new Date(epochMs).toISOString()}::timestamptz`;
}
