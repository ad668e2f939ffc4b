import type { Metrics, MetricValue } from '@fleetwire/contracts/metrics';
import type pg from 'pg';
import { type InferResult, type NotNull, sql, type SqlBool } from 'kysely';
import { chunkBytesMax, collectRows, fetchUpTo, type PageBounds } from './bounded-rows.ts';
import { fetchRows, onConnection } from './cancellable.ts';
import type { Database } from './database.ts';
import { namesOfShapes, toMetrics } from './stored-metrics.ts';
import type { LatestMetrics } from './tables.ts';

// Every time here is in epoch milliseconds. Every reader cancels its query when `signal` aborts, and then throws as `fetchRows` does.

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

interface Page extends Abortable {
  readonly limit: number;
  /** The last `deviceId` of the page before. */
  readonly after?: string | undefined;
}

interface LatestMetric {
  /** Device time of this value; metrics of one device may arrive at different times. */
  readonly ts: number;
  readonly value: MetricValue;
}

export interface LatestRow {
  readonly deviceId: string;
  /** The newest device time among the metrics. */
  readonly ts: number;
  /** When the newest reading was received. */
  readonly receivedAt: number;
  readonly metrics: Readonly<Record<string, LatestMetric>>;
  /** About its size as JSON. */
  readonly bytes: number;
}

/** The position of a reading among those of its device; it never changes, and differs also where timestamps are equal. */
interface ReadingPosition {
  readonly ts: number;
  readonly streamKey: number;
  readonly seq: number;
}

export interface StoredReading {
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly receivedAt: number;
  readonly metrics: Metrics;
  readonly position: ReadingPosition;
  /** About its size as JSON, with all its metrics. */
  readonly bytes: number;
}

export interface StoredReadingsQuery extends Abortable, PageBounds {
  readonly deviceId: string;
  /** Half-open: `from <= ts < to`. */
  readonly from: number;
  readonly to: number;
  /** Only these metrics; readings that have none of them are left out. */
  readonly metrics?: readonly string[] | undefined;
  readonly order: 'asc' | 'desc';
  /** The last position of the page before. */
  readonly after?: ReadingPosition | undefined;
}

/** A number of rows; `exact` is false where counting all of them would take too long. */
interface RowCount {
  readonly count: number;
  readonly exact: boolean;
}

export interface StoreStatus {
  readonly devices: RowCount;
  readonly readings: RowCount;
  readonly deadLetters: RowCount;
  /** When the newest stored reading was received. */
  readonly lastReceivedAt: number | null;
}

/** About what the members beside metrics take as JSON, and a number with its punctuation. */
const rowBytes = 200;
const numberBytes = 20;
/** What a metric of the latest state takes beside its stored entry: its name again, and its time as text. */
const latestMetricBytes = 60;

/** Exact up to here; beyond, the answer is this number and `exact: false`. */
const countedRowsMax = 100_000;

/** The latest state of all devices that have one, by device id. */
export async function latestOfAll(
  database: Database,
  { after, signal, ...bounds }: Page & PageBounds,
): Promise<LatestRow[]> {
  return collectRows<LatestRow>(bounds, async ({ limit, bytesMax }, last) => {
    const from = last?.deviceId ?? after;
    let query = selectLatest(database.db).orderBy('d.device_id').limit(limit);
    if (from !== undefined) query = query.where('d.device_id', '>', from);
    const { rows, isCut } = await fetchUpTo(database, query, { documents: ['metrics'], bytesMax, signal });
    return { rows: rows.map(toLatestRow), isCut };
  });
}

/**
 * The latest state of the devices that were heard of last, the newest first.
 * @returns as many as fit into the bounds; `isCut` where there are more
 */
export async function newestLatest(
  database: Database,
  { limit, bytesMax = chunkBytesMax, onBytes, signal }: Abortable & PageBounds,
): Promise<{ readonly rows: readonly LatestRow[]; readonly isCut: boolean }> {
  // No index has the time of receipt, which each batch changes: the keys are sorted alone, without the documents beside them. For 100,000
  // devices that takes 0.1 s, and less than half of what sorting whole rows does.
  const newest = database.db
    .selectFrom('device_latest')
    .select('device_key')
    .orderBy('received_at', 'desc')
    .orderBy('device_key')
    .limit(limit + 1);
  const query = selectLatest(database.db)
    .innerJoin(newest.as('n'), 'n.device_key', 'l.device_key')
    .orderBy('l.received_at', 'desc')
    .orderBy('d.device_id');
  const fetched = await fetchUpTo(database, query, {
    documents: ['metrics'],
    bytesMax: Math.min(bytesMax, chunkBytesMax),
    signal,
  });
  const rows = fetched.rows.slice(0, limit).map(toLatestRow);
  onBytes?.(rows.reduce((sum, { bytes }) => sum + bytes, 0));
  return { rows, isCut: fetched.isCut || fetched.rows.length > limit };
}

/** @returns undefined where the device is unknown or has no reading */
export async function latestOf(
  { db, pool }: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<LatestRow | undefined> {
  const rows = await fetchRows(pool, selectLatest(db).where('d.device_id', '=', deviceId).compile(), signal);
  return rows.map(toLatestRow)[0];
}

/**
 * The reading of a device that arrived last; of those that arrived in one millisecond, the last of its stream. Nothing keeps it: the latest state
 * has the time of its arrival, by which the block range index of each partition finds it, whatever its device time is.
 * @returns undefined where nothing is stored of the device, or its last reading is no longer kept
 */
export async function lastArrivalOf(
  database: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<StoredReading | undefined> {
  const newest = sql<LastArrival>`
    select l.device_key, l.received_at, min(p.from_ts) as "from", max(p.to_ts) as "to"
    from devices d join device_latest l using (device_key) join device_periods p using (device_key)
    where d.device_id = ${deviceId} group by 1, 2`.compile(database.db);
  const row = await onConnection(database.pool, signal, async (client) => {
    const [known] = (await client.query<LastArrival>(newest.sql, [...newest.parameters])).rows;
    if (known === undefined) return undefined;
    // `+ 0`: the index by device would read everything that the device ever sent.
    const query = sql<ReadingRow>`
      select s.epoch, r.seq, r.ts, r.received_at, r.stream_key, r.shape_key, r.numbers, r.others
      from readings r join streams s on s.stream_key = r.stream_key
      where r.received_at = ${at(known.received_at)} and r.device_key + 0 = ${known.device_key}
        and r.ts >= ${at(known.from)} and r.ts < ${at(known.to)}
      order by r.stream_key desc, r.seq desc limit 1`.compile(database.db);
    await client.query('begin read only; set local enable_seqscan = off');
    try {
      return (await client.query<ReadingRow & pg.QueryResultRow>(query.sql, [...query.parameters])).rows[0];
    } finally {
      await client.query('rollback').catch(() => {});
    }
  });
  if (row === undefined) return undefined;
  const names = await namesOfShapes(database, new Set([row.shape_key]), signal);
  return toReading(row, names.get(row.shape_key) ?? [], undefined);
}

/** Readings of one device in a stable order: by device time, then stream, then sequence number. */
export async function readings(database: Database, options: StoredReadingsQuery): Promise<StoredReading[]> {
  const { metrics, after, signal } = options;
  const wanted = metrics === undefined ? undefined : new Set(metrics);
  const { deviceKey, periods } = await periodsWithReadings(database, options);
  let group = nextGroup(periods, 0);
  return collectRows<StoredReading>(options, async ({ limit, bytesMax }, last) => {
    if (group.periods.length === 0) return { rows: [], isCut: false };
    const query = selectReadings(database.db, deviceKey, group.periods, {
      ...options,
      limit,
      after: last?.position ?? after,
    });
    const { rows, isCut } = await fetchUpTo(database, query, {
      documents: ['others'],
      numbers: ['numbers'],
      bytesMax,
      signal,
    });
    if (!isCut) group = nextGroup(periods, group.to);
    const names = await namesOfShapes(database, new Set(rows.map((row) => row.shape_key)), signal);
    return {
      rows: rows.map((row) => toReading(row, names.get(row.shape_key) ?? [], wanted)),
      isCut: isCut || group.periods.length > 0,
    };
  });
}

/** When it was, and the times between which the device has readings. */
interface LastArrival extends ReadingPeriod {
  readonly device_key: number;
  readonly received_at: number;
}

/** Of one partition, or of neighbours: half-open, epoch milliseconds. */
interface ReadingPeriod {
  readonly from: number;
  readonly to: number;
}

const periodsPerStatementMax = 32;

/** The next periods to read with one statement. Usually the first holds the page; where it does not, each statement reads twice as many. */
function nextGroup(periods: readonly ReadingPeriod[], from: number): { periods: readonly ReadingPeriod[]; to: number } {
  const to = from + Math.min(from + 1, periodsPerStatementMax);
  return { periods: periods.slice(from, to), to };
}

/** The periods in which the device may have readings of this page, in its order. Postgres plans for each partition that it cannot leave out. */
async function periodsWithReadings(
  { db, pool }: Database,
  { deviceId, from, to, order, after, signal }: StoredReadingsQuery,
): Promise<{ deviceKey: number; periods: readonly ReadingPeriod[] }> {
  const start = after !== undefined && order === 'asc' ? Math.max(from, after.ts) : from;
  const end = after !== undefined && order === 'desc' ? Math.min(to, after.ts + 1) : to;
  const query = sql<ReadingPeriod & { deviceKey: number }>`
    select p.device_key as "deviceKey", p.from_ts as "from", p.to_ts as "to"
    from device_periods p join devices d on d.device_key = p.device_key
    where d.device_id = ${deviceId} and p.to_ts > ${at(start)} and p.from_ts < ${at(end)}
    order by p.from_ts ${sql.raw(order)}`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return { deviceKey: rows[0]?.deviceKey ?? 0, periods: rows };
}

function selectReadings(
  db: Database['db'],
  deviceKey: number,
  periods: readonly ReadingPeriod[],
  options: StoredReadingsQuery,
) {
  const { metrics, limit, order, after } = options;
  const from = Math.max(options.from, Math.min(...periods.map((period) => period.from)));
  const to = Math.min(options.to, Math.max(...periods.map((period) => period.to)));
  let query = db
    .selectFrom('readings as r')
    .innerJoin('streams as s', 's.stream_key', 'r.stream_key')
    .select(['s.epoch', 'r.seq', 'r.ts', 'r.received_at', 'r.stream_key', 'r.shape_key', 'r.numbers', 'r.others'])
    .where('r.device_key', '=', deviceKey)
    .where('r.ts', '>=', at(from))
    .where('r.ts', '<', at(to))
    .orderBy('r.ts', order)
    .orderBy('r.stream_key', order)
    .orderBy('r.seq', order)
    .limit(limit);
  if (periods.length > 1)
    query = query.where((eb) =>
      eb.or(periods.map((one) => eb.and([eb('r.ts', '>=', at(one.from)), eb('r.ts', '<', at(one.to))]))),
    );
  if (after !== undefined) {
    const position = sql`(${at(after.ts)}, ${after.streamKey}::int4, ${after.seq}::int8)`;
    const beyond = order === 'asc' ? sql`>` : sql`<`;
    query = query.where(sql<SqlBool>`(r.ts, r.stream_key, r.seq) ${beyond} ${position}`);
  }
  if (metrics !== undefined) {
    const names = sql`${metrics}::text[]`;
    query = query.where(
      sql<SqlBool>`(r.shape_key = any(array(select sh.shape_key from shapes sh where sh.names && ${names})) or r.others ?| ${names})`,
    );
  }
  return query;
}

export type ReadingRow = InferResult<ReturnType<typeof selectReadings>>[number];

export function toReading(
  row: ReadingRow,
  names: readonly string[],
  wanted: ReadonlySet<string> | undefined,
): StoredReading {
  const { epoch, seq, ts, received_at: receivedAt, numbers, others, stream_key: streamKey } = row;
  const nameBytes = names.reduce((sum, name) => sum + name.length, 0);
  const othersBytes = others === null ? 0 : Buffer.byteLength(JSON.stringify(others));
  return {
    epoch,
    seq,
    ts,
    receivedAt,
    metrics: toMetrics(names, numbers, others, wanted),
    position: { ts, streamKey, seq },
    bytes: rowBytes + nameBytes + numbers.length * numberBytes + othersBytes,
  };
}

/** The numbers of stored devices, readings and dead letters. The number of readings is Postgres' estimate, from its statistics. */
export async function storeStatus({ db, pool }: Database, { signal }: Abortable = {}): Promise<StoreStatus> {
  const estimate = sql<{ count: number }>`
    select coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::int8 as count
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'readings'::regclass`.compile(db);
  const newest = db
    .selectFrom('device_latest')
    .select((eb) => eb.fn.max('received_at').as('at'))
    .compile();
  const [devices, deadLetters, estimated, last] = await Promise.all([
    countUpToMax(db, pool, 'devices', signal),
    countUpToMax(db, pool, 'dead_letters', signal),
    fetchRows(pool, estimate, signal),
    fetchRows(pool, newest, signal),
  ]);
  return {
    devices,
    deadLetters,
    readings: { count: estimated[0]?.count ?? 0, exact: false },
    lastReceivedAt: last[0]?.at ?? null,
  };
}

function selectLatest(db: Database['db']) {
  return db
    .selectFrom('devices as d')
    .innerJoin('device_latest as l', 'l.device_key', 'd.device_key')
    .select(['d.device_id', 'l.ts', 'l.received_at', 'l.metrics'])
    .where('l.ts', 'is not', null)
    .$narrowType<{ ts: NotNull }>();
}

async function countUpToMax(
  db: Database['db'],
  pool: Database['pool'],
  table: 'devices' | 'dead_letters',
  signal: AbortSignal | undefined,
): Promise<RowCount> {
  const query = sql<{
    count: number;
  }>`select count(*) from (select from ${sql.table(table)} limit ${countedRowsMax + 1}) as counted`.compile(db);
  const count = (await fetchRows(pool, query, signal))[0]?.count ?? 0;
  return count > countedRowsMax ? { count: countedRowsMax, exact: false } : { count, exact: true };
}

function toLatestRow(row: { device_id: string; ts: number; received_at: number; metrics: LatestMetrics }): LatestRow {
  const metrics = Object.entries(row.metrics).map(
    ([name, [ts, value]]) => [name, { ts, value: value as MetricValue }] as const,
  );
  return {
    deviceId: row.device_id,
    ts: row.ts,
    receivedAt: row.received_at,
    metrics: Object.fromEntries(metrics),
    bytes: metrics.reduce((sum, [name, { value }]) => sum + latestMetricBytes + bytesOf(name, value), rowBytes),
  };
}

/** Of an entry of the latest state as JSON, about: numbers, nearly all there is, are not written out. */
function bytesOf(name: string, value: MetricValue): number {
  return name.length + 2 * numberBytes + (typeof value === 'number' ? 0 : Buffer.byteLength(JSON.stringify(value)));
}

/** Epoch milliseconds as a timestamp, exactly. */
function at(epochMs: number) {
  return sql<number>`${new Date(epochMs).toISOString()}::timestamptz`;
}
