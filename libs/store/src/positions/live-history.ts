import type { Metrics } from '@fleetwire/contracts/metrics';
import type pg from 'pg';
import { connect } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { likePattern } from '../like-pattern.ts';
import { toMetrics } from '../stored-metrics.ts';
import { earliestKept } from '../partitions.ts';
import { type Positions, readPositions } from './read-positions.ts';
import type { EnvelopeTimes } from './settled-envelope.ts';
import { type RangesByEdge, settledTimes, uncoveredEdges } from './settled-times.ts';

export interface LiveFilter {
  readonly devices?: readonly string[] | undefined;
  /** Globs with `*` and `?`. All that is given applies. */
  readonly patterns?: readonly string[] | undefined;
  /** Devices that have all of these now. */
  readonly tags?: readonly string[] | undefined;
  readonly deviceType?: string | undefined;
  /** Only these; readings without any of them are left out. */
  readonly metrics?: readonly string[] | undefined;
}

interface LiveReading {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly receivedAt: number;
  readonly metrics: Metrics;
}

export interface LiveHistory {
  readonly positions: Positions;
  /** Readings from before it are deleted; undefined where none are, or where it was not asked for. */
  readonly earliest: number | undefined;
  /** Edges with a range that begins at a settled number whose position is deleted. */
  readonly uncovered: readonly string[];
  /** The numbers that are not settled; of a time, none. */
  readonly left: RangesByEdge;
  /** Batches of readings: for each device in the order of arrival. Ends the transaction when it is over, or is left. */
  readonly batches: AsyncGenerator<LiveReading[], void>;
  /** Ends the statement that is running, too. */
  readonly abort: (reason: Error) => void;
}

export interface LiveHistoryQuery {
  readonly filter: LiveFilter;
  readonly of:
    | { readonly since: number }
    | { readonly receivedSince: number }
    | { readonly ranges: RangesByEdge; readonly isResumed?: boolean };
  /** Postgres cancels what is running after this time; less than `signal` has, which would look like an outage. */
  readonly openingMsMax: number;
  /** For opening it; afterwards `abort` ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** With `since`, the devices are read from one time on: a filter that matches more is too wide. */
export class TooManyDevicesError extends Error {
  override readonly name = 'TooManyDevicesError';
}

const sinceDevicesMax = 1_000;

/** Opens a snapshot in which positions and readings agree, on a connection of its own until the batches have ended. */
export async function openLiveHistory({ pool }: Database, query: LiveHistoryQuery): Promise<LiveHistory> {
  const { filter, of, openingMsMax, signal } = query;
  const openingEndsAt = Date.now() + openingMsMax;
  const client = await connect(pool, signal);
  let isReleased = false;
  const release = (error?: Error): void => {
    if (!isReleased) client.release(error);
    isReleased = true;
  };
  const onAbort = (): void => release(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const limit = async (): Promise<unknown> =>
      client.query(`set local statement_timeout = ${Math.max(1, openingEndsAt - Date.now())}`);
    await client.query('begin isolation level repeatable read, read only');
    await limit();
    const positions = await readPositions(client);
    await limit();
    const isByNumber = 'ranges' in of;
    if (!isByNumber) await refuseTooManyDevices(client, filter);
    const { intervals, left } = await intervalsOf(client, positions, of);
    const isBeginning = !isByNumber || of.isResumed === true;
    const earliest = isBeginning ? await earliestKept(client) : undefined;
    const uncovered = isByNumber && isBeginning ? await uncoveredEdges(client, positions, of.ranges) : [];
    await client.query('set local statement_timeout to default');
    return {
      positions,
      earliest,
      uncovered,
      left,
      batches: batchesOf(client, filter, intervals, release),
      abort: release,
    };
  } catch (error) {
    release(error as Error);
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function refuseTooManyDevices(client: pg.PoolClient, filter: LiveFilter): Promise<void> {
  const values: unknown[] = [];
  const devices = selectDevices(filter, (value) => `$${values.push(value)}`);
  const { rows } = await client.query<{ count: number }>(
    `select count(*) from (${devices} limit ${sinceDevicesMax + 1}) as matching`,
    values,
  );
  if (rows[0]!.count > sinceDevicesMax) throw new TooManyDevicesError('the filter matches too many devices');
}

function selectDevices(
  { devices, patterns, tags, deviceType }: LiveFilter,
  parameter: (value: unknown) => string,
): string {
  const conditions = [
    ...(devices === undefined ? [] : [`device_id = any(${parameter(devices)}::text[])`]),
    ...(patterns === undefined ? [] : [`device_id like any(${parameter(patterns.map(likePattern))}::text[])`]),
    ...(tags === undefined ? [] : [`tags @> ${parameter(tags)}::text[]`]),
    ...(deviceType === undefined ? [] : [`type = ${parameter(deviceType)}`]),
  ];
  return `select device_key from devices where ${conditions.join(' and ') || 'true'}`;
}

/** The positions as they are now. */
export async function currentPositions(
  database: Database,
  options: Pick<LiveHistoryQuery, 'openingMsMax' | 'signal'>,
): Promise<Positions> {
  const history = await openLiveHistory(database, { filter: {}, of: { ranges: {} }, ...options });
  for await (const _ of history.batches);
  return history.positions;
}

type Interval = Partial<EnvelopeTimes>;

async function intervalsOf(
  client: pg.PoolClient,
  positions: Positions,
  of: LiveHistoryQuery['of'],
): Promise<{ intervals: readonly Interval[]; left: RangesByEdge }> {
  if ('since' in of) return { intervals: [{ tsMin: of.since }], left: {} };
  if ('receivedSince' in of) return { intervals: [{ receivedMin: of.receivedSince }], left: {} };
  return settledTimes(client, positions, of.ranges);
}

interface Row {
  readonly device_id: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly received_at: number;
  readonly shape_key: number;
  readonly numbers: number[];
  readonly others: Record<string, unknown> | null;
  /** Stored bytes of the rows that follow, so that a fetch can be bounded before it is read: a reading may have 256 KiB. */
  readonly next_many: number | null;
  readonly next_few: number | null;
}

const fetchRows = { many: 256, few: 16 };
/** One fetch has at most this many stored bytes, or one row. Postgres compresses at most 87-fold. */
const fetchStoredBytesMax = 64 * 1024;

async function* batchesOf(
  client: pg.PoolClient,
  filter: LiveFilter,
  intervals: readonly Interval[],
  release: (error?: Error) => void,
): AsyncGenerator<LiveReading[], void> {
  // A caller that leaves in between leaves a transaction open: the connection is given up.
  let failure: Error | undefined = new Error('the stream of readings was left');
  try {
    const names = new Map<number, string[]>();
    const wanted = filter.metrics === undefined ? undefined : new Set(filter.metrics);
    for (const interval of intervals) {
      const { text, values } = select(filter, interval);
      await client.query(`declare live no scroll cursor for ${text}`, values);
      for (let count = 1; ;) {
        const { rows } = await client.query<Row>(`fetch ${count} from live`);
        if (rows.length === 0) break;
        await addNames(client, names, rows);
        yield rows.map((row) => ({
          deviceId: row.device_id,
          epoch: row.epoch,
          seq: row.seq,
          ts: row.ts,
          receivedAt: row.received_at,
          metrics: toMetrics(names.get(row.shape_key) ?? [], row.numbers, row.others, wanted),
        }));
        count = nextCount(rows.at(-1)!);
      }
      await client.query('close live');
    }
    await client.query('commit');
    failure = undefined;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    release(failure);
  }
}

function nextCount({ next_many: many, next_few: few }: Row): number {
  if ((many ?? 0) <= fetchStoredBytesMax) return fetchRows.many;
  return (few ?? 0) <= fetchStoredBytesMax ? fetchRows.few : 1;
}

function select(filter: LiveFilter, { receivedMin, receivedMax, tsMin, tsMax }: Interval): pg.QueryConfig {
  const values: unknown[] = [];
  const parameter = (value: unknown): string => `$${values.push(value)}`;
  const at = (epochMs: number): string => `${parameter(new Date(epochMs).toISOString())}::timestamptz`;
  const conditions: string[] = [];
  conditions.push(`r.device_key = any(array(${selectDevices(filter, parameter)}))`);
  if (receivedMin !== undefined) conditions.push(`r.received_at >= ${at(receivedMin)}`);
  if (receivedMax !== undefined) conditions.push(`r.received_at <= ${at(receivedMax)}`);
  if (tsMin !== undefined) conditions.push(`r.ts >= ${at(tsMin)}`);
  if (tsMax !== undefined) conditions.push(`r.ts <= ${at(tsMax)}`);
  if (filter.metrics !== undefined) {
    const names = parameter(filter.metrics);
    conditions.push(
      `(r.shape_key = any(array(select shape_key from shapes where names && ${names}::text[])) or r.others ?| ${names}::text[])`,
    );
  }
  const following = (rows: number): string =>
    `sum(coalesce(pg_column_size(r.others), 0) + pg_column_size(r.numbers)) over (ordered rows between 1 following and ${rows} following)`;
  return {
    text: `
      select d.device_id, s.epoch, r.seq, r.ts, r.received_at, r.shape_key, r.numbers, r.others,
        ${following(fetchRows.many)} as next_many, ${following(fetchRows.few)} as next_few
      from readings r join streams s on s.stream_key = r.stream_key join devices d on d.device_key = r.device_key
      where ${conditions.join(' and ')}
      window ordered as (order by r.device_key, r.received_at, r.stream_key, r.seq)
      order by r.device_key, r.received_at, r.stream_key, r.seq`,
    values,
  };
}

/** The names of the shapes of these rows, where they are not known yet. */
export async function addNames(
  client: pg.PoolClient,
  names: Map<number, string[]>,
  rows: readonly Pick<Row, 'shape_key'>[],
): Promise<void> {
  const missing = [...new Set(rows.map((row) => row.shape_key))].filter((key) => !names.has(key));
  if (missing.length === 0) return;
  const shapes = await client.query<{ shape_key: number; names: string[] }>(
    'select shape_key, names from shapes where shape_key = any($1)',
    [missing],
  );
  for (const shape of shapes.rows) names.set(shape.shape_key, shape.names);
}
