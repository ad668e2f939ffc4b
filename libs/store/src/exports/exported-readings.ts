import type { Metrics } from '@fleetwire/contracts/metrics';
import pg from 'pg';
import { connect } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { likePattern } from '../like-pattern.ts';
import { type Completeness, readCompleteness } from '../positions/read-positions.ts';
import type { DeviceSelection } from '../series/select-devices.ts';
import { toMetrics } from '../stored-metrics.ts';
import { copyRows, RowReader } from './copy-rows.ts';

export interface ExportQuery {
  /** Without any member: all devices. */
  readonly selection: DeviceSelection;
  /** Half-open: `from <= ts < to`; epoch milliseconds. */
  readonly from: number;
  readonly to: number;
  /** Only these metrics; readings that have none of them are left out. */
  readonly metrics?: readonly string[] | undefined;
  /** Of one device; readings of several come in no particular order. */
  readonly order: 'asc' | 'desc';
}

export interface ExportedReading {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly receivedAt: number;
  readonly metrics: Metrics;
}

export interface ExportedMetric {
  readonly name: string;
  /** `mixed`: objects, or values of more than one type. */
  readonly type: 'number' | 'boolean' | 'text' | 'mixed';
}

/** Readings in one snapshot, on a connection of their own until they are closed. */
export interface ExportedReadings {
  readonly completeness: Completeness;
  /** Devices of the selection. */
  readonly devices: number;
  /** What Postgres expects by its statistics. */
  readonly estimatedReadings: number;
  /** The metrics of all readings of the export, by name, and how many readings they are. It reads them once. */
  findMetrics(): Promise<{ readonly metrics: ExportedMetric[]; readonly readings: number }>;
  /** Gives every reading to `take`. To be called once. */
  read(take: (reading: ExportedReading) => void): Promise<void>;
  pause(): void;
  resume(): void;
  /** Ends what is running, in Postgres too. After `read` has ended it keeps the connection. */
  close(reason?: Error): void;
}

/** Opens the snapshot. A statement may take as long as the pool's `statementTimeoutMs`. */
export async function openExportedReadings(
  { pool }: Database,
  { signal, ...query }: ExportQuery & { readonly signal?: AbortSignal },
): Promise<ExportedReadings> {
  const client = await connect(pool, signal);
  let isClosed = false;
  const close = (reason?: Error): void => {
    if (isClosed) return;
    isClosed = true;
    signal?.removeEventListener('abort', onAbort);
    // With a reason it is destroyed, also while Postgres is blocked in writing rows that are not read.
    client.release(reason);
  };
  const onAbort = (): void => close(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await client.query('begin isolation level repeatable read, read only');
    // First, so that all it speaks of is in the snapshot: the transaction takes it with this statement.
    const completeness = await readCompleteness(client);
    const devices = await selectedDevices(client, query.selection);
    const where = conditionOf(query, devices);
    let copied: ReturnType<typeof copyRows> | undefined;
    return {
      completeness,
      devices: devices.count,
      estimatedReadings: await estimateOf(client, where),
      findMetrics: () => metricsOf(client, where, query.metrics),
      read: async (take) => {
        const names = await namesOfShapes(client);
        const toReading = decoder(names, query.metrics);
        const order = devices.onlyKey === undefined ? '' : orderBy(query.order);
        copied = copyRows(client, `${rowsOf(where)} ${order}`, (row, offset) => take(toReading(row, offset)));
        await copied.done;
        // The last rows may have filled the reader; the connection is used by others from here on.
        copied.resume();
        copied = undefined;
        await client.query('commit');
        close();
      },
      pause: () => copied?.pause(),
      resume: () => copied?.resume(),
      close,
    };
  } catch (error) {
    close(error as Error);
    signal?.throwIfAborted();
    throw error;
  }
}

async function estimateOf(client: pg.PoolClient, where: string): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
    `explain (format json) select from readings r where ${where}`,
  );
  return rows[0]!['QUERY PLAN'][0].Plan['Plan Rows'];
}

interface SelectedDevices {
  readonly count: number;
  /** The key of the device, where it is one. */
  readonly onlyKey: number | undefined;
  /** As a condition on `d`, without parameters: COPY has none. Undefined: all. */
  readonly condition: string | undefined;
}

async function selectedDevices(client: pg.PoolClient, selection: DeviceSelection): Promise<SelectedDevices> {
  const condition = deviceCondition(selection);
  const { rows } = await client.query<{ count: number; first: number | null }>(
    `select count(*), min(d.device_key) as first from devices d where ${condition ?? 'true'}`,
  );
  const { count, first } = rows[0]!;
  return { count, onlyKey: count === 1 && first !== null ? first : undefined, condition };
}

function deviceCondition({ devices, pattern, tag, type }: DeviceSelection): string | undefined {
  const conditions = [
    ...(devices === undefined ? [] : [`d.device_id = any(${textArray(devices)})`]),
    ...(pattern === undefined || pattern === '*' ? [] : [`d.device_id like ${literal(likePattern(pattern))}`]),
    ...(tag === undefined ? [] : [`d.tags @> ${textArray([tag])}`]),
    ...(type === undefined ? [] : [`d.type = ${literal(type)}`]),
  ];
  return conditions.length === 0 ? undefined : conditions.join(' and ');
}

function conditionOf({ from, to, metrics }: ExportQuery, { count, onlyKey, condition }: SelectedDevices): string {
  const conditions = [`r.ts >= ${at(from)}`, `r.ts < ${at(to)}`];
  if (onlyKey !== undefined) conditions.push(`r.device_key = ${onlyKey}`);
  else if (count === 0) conditions.push('false');
  else if (condition !== undefined)
    conditions.push(`r.device_key in (select d.device_key from devices d where ${condition})`);
  if (metrics !== undefined) {
    const names = textArray(metrics);
    conditions.push(
      `(r.shape_key = any(array(select sh.shape_key from shapes sh where sh.names && ${names})) or r.others ?| ${names})`,
    );
  }
  return conditions.join(' and ');
}

function rowsOf(where: string): string {
  return `
    select r.ts, r.received_at, r.seq, r.stream_key, r.shape_key, r.numbers, r.others, s.epoch, d.device_id
    from readings r join streams s on s.stream_key = r.stream_key join devices d on d.device_key = r.device_key
    where ${where}`;
}

function orderBy(order: 'asc' | 'desc'): string {
  return `order by r.ts ${order}, r.stream_key ${order}, r.seq ${order}`;
}

interface Stream {
  readonly deviceId: string;
  readonly epoch: string;
}

/** So that ids are not decoded, and kept, once for each reading. */
const streamsCachedMax = 10_000;

function decoder(
  names: ReadonlyMap<number, readonly string[]>,
  metrics: readonly string[] | undefined,
): (row: Buffer, offset: number) => ExportedReading {
  const reader = new RowReader();
  const wanted = metrics === undefined ? undefined : new Set(metrics);
  const streams = new Map<number, Stream>();
  return (row, offset) => {
    reader.open(row, offset);
    const ts = reader.time();
    const receivedAt = reader.time();
    const seq = reader.bigInteger();
    const streamKey = reader.integer();
    const shapeKey = reader.integer();
    const numbers = reader.numbers();
    const others = reader.json() as Record<string, unknown> | undefined;
    let stream = streams.get(streamKey);
    if (stream === undefined) {
      const epoch = reader.text();
      stream = { epoch, deviceId: reader.text() };
      if (streams.size >= streamsCachedMax) streams.clear();
      streams.set(streamKey, stream);
    }
    return {
      deviceId: stream.deviceId,
      epoch: stream.epoch,
      seq,
      ts,
      receivedAt,
      metrics: toMetrics(names.get(shapeKey) ?? [], numbers, others ?? null, wanted),
    };
  };
}

/** All of them: there are at most 30,000, and they are in the snapshot of their readings. */
async function namesOfShapes(client: pg.PoolClient): Promise<Map<number, string[]>> {
  const { rows } = await client.query<{ shape_key: number; names: string[] }>('select shape_key, names from shapes');
  return new Map(rows.map(({ shape_key: key, names }) => [key, names]));
}

async function metricsOf(
  client: pg.PoolClient,
  where: string,
  wanted: readonly string[] | undefined,
): Promise<{ metrics: ExportedMetric[]; readings: number }> {
  const types = new Map<string, Set<string>>();
  const add = (name: string, type: string): void => {
    if (wanted !== undefined && !wanted.includes(name)) return;
    if (!types.has(name)) types.set(name, new Set());
    types.get(name)!.add(type);
  };
  const { rows: shapes } = await client.query<{ names: string[]; readings: number; has_others: boolean }>(
    `select sh.names, f.readings, f.has_others from (
       select r.shape_key, count(*) as readings, bool_or(r.others is not null) as has_others from readings r where ${where} group by r.shape_key
     ) as f join shapes sh on sh.shape_key = f.shape_key`,
  );
  for (const { names } of shapes) for (const name of names) add(name, 'number');
  if (shapes.some(({ has_others: has }) => has)) {
    const { rows: others } = await client.query<{ name: string; type: string }>(
      `select o.key as name, jsonb_typeof(o.value) as type from readings r, jsonb_each(r.others) as o
       where r.others is not null and ${where} group by 1, 2`,
    );
    for (const { name, type } of others) add(name, type);
  }
  const metrics = [...types]
    .map(([name, found]) => ({ name, type: columnType(found) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { metrics, readings: shapes.reduce((sum, { readings }) => sum + readings, 0) };
}

function columnType(found: ReadonlySet<string>): ExportedMetric['type'] {
  const [only] = found;
  if (found.size > 1 || only === 'object') return 'mixed';
  return only === 'string' ? 'text' : (only as 'number' | 'boolean');
}

const literal = (text: string): string => pg.escapeLiteral(text);
const textArray = (texts: readonly string[]): string => `array[${texts.map(literal).join(', ')}]::text[]`;
const at = (epochMs: number): string => `'${new Date(epochMs).toISOString()}'::timestamptz`;
