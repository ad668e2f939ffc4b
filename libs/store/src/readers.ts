import type { Metrics, MetricValue } from '@fleetwire/contracts/metrics';
import { type InferResult, type NotNull, sql, type SqlBool } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds } from './bounded-rows.ts';
import { fetchRows } from './cancellable.ts';
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

export interface DeviceSummary {
  readonly deviceId: string;
  readonly firstSeenAt: number;
  /** When the newest reading was received, and its device time; null if none was ever stored. */
  readonly lastSeenAt: number | null;
  readonly lastTs: number | null;
}

interface DeviceEpoch {
  readonly epoch: string;
  readonly firstSeenAt: number;
  readonly lastSeq: number | null;
}

export interface DeviceDetails extends DeviceSummary {
  /** The newest first, at most `epochsPerDeviceMax`. */
  readonly epochs: readonly DeviceEpoch[];
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

const epochsPerDeviceMax = 100;

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

/** @returns undefined where the device is unknown or has no reading */
export async function latestOf(
  { db, pool }: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<LatestRow | undefined> {
  const rows = await fetchRows(pool, selectLatest(db).where('d.device_id', '=', deviceId).compile(), signal);
  return rows.map(toLatestRow)[0];
}

/** Devices by id. `search`: a part of the id in any case. `seenSince`: only those from which something arrived since. */
export async function listDevices(
  { db, pool }: Database,
  {
    limit,
    after,
    search,
    seenSince,
    signal,
  }: Page & { readonly search?: string | undefined; readonly seenSince?: number | undefined },
): Promise<DeviceSummary[]> {
  let query = selectDevices(db).orderBy('d.device_id').limit(limit);
  if (after !== undefined) query = query.where('d.device_id', '>', after);
  if (search !== undefined) query = query.where('d.device_id', 'ilike', `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`);
  if (seenSince !== undefined) query = query.where('l.received_at', '>=', at(seenSince));
  return fetchRows(pool, query.compile(), signal);
}

/** @returns undefined where the device is unknown */
export async function getDevice(
  { db, pool }: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<DeviceDetails | undefined> {
  const [device] = await fetchRows(pool, selectDevices(db).where('d.device_id', '=', deviceId).compile(), signal);
  if (device === undefined) return undefined;
  const lastSeq = sql<
    number | null
  >`(select upper(b.seen) - 1 from sequence_blocks b where b.stream_key = s.stream_key order by b.block desc limit 1)`;
  const query = db
    .selectFrom('streams as s')
    .innerJoin('devices as d', 'd.device_key', 's.device_key')
    .select(['s.epoch', 's.first_seen_at as firstSeenAt', lastSeq.as('lastSeq')])
    .where('d.device_id', '=', deviceId)
    .orderBy('s.stream_key', 'desc')
    .limit(epochsPerDeviceMax);
  return { ...device, epochs: await fetchRows(pool, query.compile(), signal) };
}

/** Readings of one device in a stable order: by device time, then stream, then sequence number. */
export async function readings(database: Database, options: StoredReadingsQuery): Promise<StoredReading[]> {
  const { metrics, after, signal } = options;
  const wanted = metrics === undefined ? undefined : new Set(metrics);
  return collectRows<StoredReading>(options, async ({ limit, bytesMax }, last) => {
    const query = selectReadings(database.db, { ...options, limit, after: last?.position ?? after });
    const { rows, isCut } = await fetchUpTo(database, query, {
      documents: ['others'],
      numbers: ['numbers'],
      bytesMax,
      signal,
    });
    const names = await namesOfShapes(database, new Set(rows.map((row) => row.shape_key)), signal);
    return { rows: rows.map((row) => toReading(row, names.get(row.shape_key) ?? [], wanted)), isCut };
  });
}

function selectReadings(db: Database['db'], options: StoredReadingsQuery) {
  const { from, to, metrics, limit, order, after } = options;
  let query = db
    .selectFrom('readings as r')
    .innerJoin('streams as s', 's.stream_key', 'r.stream_key')
    .select(['s.epoch', 'r.seq', 'r.ts', 'r.received_at', 'r.stream_key', 'r.shape_key', 'r.numbers', 'r.others'])
    .where('r.device_key', '=', (eb) =>
      eb.selectFrom('devices').select('device_key').where('device_id', '=', options.deviceId),
    )
    .where('r.ts', '>=', at(from))
    .where('r.ts', '<', at(to))
    .orderBy('r.ts', order)
    .orderBy('r.stream_key', order)
    .orderBy('r.seq', order)
    .limit(limit);
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

function toReading(
  row: InferResult<ReturnType<typeof selectReadings>>[number],
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

function selectDevices(db: Database['db']) {
  return db
    .selectFrom('devices as d')
    .leftJoin('device_latest as l', 'l.device_key', 'd.device_key')
    .select([
      'd.device_id as deviceId',
      // A device is registered before its batch is stored, which may fail; an earlier reading may then be its first.
      sql<number>`least(d.first_seen_at, l.received_at)`.as('firstSeenAt'),
      'l.received_at as lastSeenAt',
      'l.ts as lastTs',
    ]);
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
    bytes: rowBytes + Buffer.byteLength(JSON.stringify(row.metrics)) + metrics.length * latestMetricBytes,
  };
}

/** Epoch milliseconds as a timestamp, exactly. */
function at(epochMs: number) {
  return sql<number>`${new Date(epochMs).toISOString()}::timestamptz`;
}
