import type { Metrics } from '@fleetwire/contracts/metrics';
import { sql, type RawBuilder, type SqlBool } from 'kysely';
import type pg from 'pg';
import { collectRows, fetchUpTo, type PageBounds } from '../bounded-rows.ts';
import { onConnection } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { addNames } from '../positions/live-history.ts';
import { readCompleteness } from '../positions/read-positions.ts';
import type { EnvelopeTimes } from '../positions/settled-envelope.ts';
import { type DeviceSelection, isSelected } from '../series/select-devices.ts';
import { toMetrics } from '../stored-metrics.ts';
import {
  type ChangesStore,
  newestTransaction,
  readChangesStore,
  refuseLost,
  type SeenTransaction,
  snapshotBefore,
} from './changes-store.ts';
import { type StoringTransaction, spansMax, spansOf, storingTransactions } from './storing-transactions.ts';

// A row of `readings` is of the transaction in its `xmin`, which stays when the row is frozen. docs/decisions/0046-changes-by-transaction.md

/** Everything that is visible in a snapshot. */
interface Done {
  readonly done: string;
  /** Epoch milliseconds, the clock of the database. */
  readonly at: number;
  /** Every acknowledged reading that arrived before this time was stored by then, or is a dead letter; null: not known. */
  readonly completeUntil: number | null;
  readonly seen?: SeenTransaction;
}

/** A reading's place within a pass. */
interface ReadingPosition {
  readonly xid: number;
  readonly streamKey: number;
  readonly seq: number;
}

/** A reader's place in the order in which transactions became visible. */
export interface ChangesPosition extends Done {
  readonly store: string;
  /** What became visible after `done` until the snapshot of this pass, and what of it has been read. */
  readonly pass?: Done & { readonly after: ReadingPosition };
}

export interface ChangesFilter extends DeviceSelection {
  /** Only these; readings without any of them are left out. */
  readonly metrics?: readonly string[] | undefined;
}

export interface Change {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly receivedAt: number;
  readonly metrics: Metrics;
}

export interface ChangesPage {
  readonly changes: readonly Change[];
  readonly position: ChangesPosition;
  /** Nothing more was committed when this page was read. */
  readonly isComplete: boolean;
}

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/**
 * A position to begin with: now, or before every transaction that began at a time or later.
 * @throws {ReadReplicaError} {ChangesLostError} where transactions since that time are not known any more
 */
export async function beginChanges(
  database: Database,
  { since, signal }: Abortable & { readonly since?: number | undefined },
): Promise<ChangesPosition> {
  return inSnapshot(database, signal, async (client) => {
    const store = await readChangesStore(client);
    const now = { store: store.store, ...(await present(client, store)) };
    if (since === undefined) return now;
    return { ...now, done: await snapshotBefore(client, store, since), at: since, completeUntil: null };
  });
}

export interface ChangesQuery extends Abortable, PageBounds {
  readonly position: ChangesPosition;
  readonly filter: ChangesFilter;
  /** The page ends after this time although it is not full. */
  readonly msMax: number;
}

/**
 * The readings that became visible after a position, each once, in the order of their transactions.
 * @throws {ReadReplicaError} {ChangesLostError}
 */
export async function changesAfter(database: Database, query: ChangesQuery): Promise<ChangesPage> {
  const { position, limit, bytesMax = Number.MAX_SAFE_INTEGER, signal } = query;
  return inSnapshot(database, signal, async (client) => {
    const store = await readChangesStore(client);
    const { pass = { ...(await present(client, store)), after: { xid: 0, streamKey: -1, seq: -1 } }, done } = position;
    await refuseLost(client, store, {
      store: position.store,
      done,
      from: pass.after.xid,
      seen: position.pass?.seen ?? position.seen,
    });
    const reader = new PassReader(database, client, query, pass);
    const rows = await collectRows<ChangeRow>({ ...query, limit, bytesMax }, (bounds, last) =>
      reader.read(bounds, last),
    );
    const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
    if (rows.length > 1 && bytes > bytesMax) rows.pop();
    const last = rows.at(-1)?.position;
    const isFull = rows.length === limit || bytes > bytesMax;
    const changes = rows.map(({ change }) => change);
    if (!isFull && reader.isAtEnd) {
      const { after: _, ...read } = pass;
      return { changes, position: { ...read, store: store.store }, isComplete: position.pass === undefined };
    }
    const after = isFull ? last! : reader.after;
    return { changes, position: { ...position, pass: { ...pass, after } }, isComplete: false };
  });
}

async function present(client: pg.PoolClient, store: ChangesStore): Promise<Done> {
  const { completeUntil } = await readCompleteness(client);
  const seen = await newestTransaction(client, store);
  return { done: store.snapshot, at: store.now, completeUntil, ...(seen && { seen }) };
}

interface ChangeRow {
  readonly change: Change;
  readonly position: ReadingPosition;
  /** As JSON, about. */
  readonly bytes: number;
}

const otherBytes = 160;
const transactionsPerStatementMax = 1_024;

/** Reads a pass in portions of transactions: a few at first and twice as many with each, until the page is full. */
class PassReader {
  readonly #database: Database;
  readonly #client: pg.PoolClient;
  readonly #query: ChangesQuery;
  readonly #pass: NonNullable<ChangesPosition['pass']>;
  readonly #endsAt: number;
  readonly #names = new Map<number, string[]>();
  #portion: readonly StoringTransaction[] = [];
  #spans: readonly EnvelopeTimes[] = [];
  #count = 8;
  isAtEnd = false;
  /** Everything up to here has been read. */
  after: ReadingPosition;

  constructor(
    database: Database,
    client: pg.PoolClient,
    query: ChangesQuery,
    pass: NonNullable<ChangesPosition['pass']>,
  ) {
    this.#database = database;
    this.#client = client;
    this.#query = query;
    this.#pass = pass;
    this.#endsAt = Date.now() + query.msMax;
    this.after = pass.after;
  }

  async read(
    { limit, bytesMax }: { limit: number; bytesMax: number },
    last: ChangeRow | undefined,
  ): Promise<{ rows: ChangeRow[]; isCut: boolean }> {
    if (last !== undefined && isBeyond(last.position, this.after)) this.after = last.position;
    if (this.#portion.length === 0) await this.#nextPortion();
    if (this.#portion.length === 0) {
      this.isAtEnd = true;
      return { rows: [], isCut: false };
    }
    const { rows, isCut } = await fetchUpTo<StoredChange>(this.#database, this.#select(limit), {
      documents: ['others'],
      numbers: ['numbers'],
      bytesMax,
      signal: undefined,
      client: this.#client,
    });
    await addNames(this.#client, this.#names, rows);
    const isPortionDone = !isCut && rows.length < limit;
    if (isPortionDone) {
      this.after = { xid: this.#portion.at(-1)!.xid + 1, streamKey: -1, seq: -1 };
      this.#portion = [];
    }
    const isLate = isPortionDone && Date.now() >= this.#endsAt;
    return { rows: rows.map((row) => this.#toChange(row)), isCut: !isLate };
  }

  async #nextPortion(): Promise<void> {
    const rows = await storingTransactions(this.#client, {
      done: this.#query.position.done,
      snapshot: this.#pass.done,
      from: this.after.xid,
      count: this.#count,
    });
    this.#count = Math.min(transactionsPerStatementMax, this.#count * 2);
    const { spans, count } = spansOf(rows);
    this.#portion = rows.slice(0, count);
    this.#spans = spans;
  }

  #select(limit: number): RawBuilder<StoredChange> {
    const { metrics, devices, pattern, tag, type } = this.#query.filter;
    const { xid, streamKey, seq } = this.after;
    const xids = [...new Set(this.#portion.map((one) => one.xid))];
    const { from, within } = readingsOf(this.#spans);
    const conditions: RawBuilder<SqlBool>[] = [
      within,
      sql`(t.xid, r.stream_key, r.seq) > (${xid}::int8::text::xid8, ${streamKey}::int4, ${seq}::int8)`,
    ];
    if ((devices ?? pattern ?? tag ?? type) !== undefined)
      conditions.push(
        sql`r.device_key = any(array(select device_key from devices where ${isSelected({ devices, pattern, tag, type })}))`,
      );
    if (metrics !== undefined) {
      const names = sql`${metrics}::text[]`;
      conditions.push(
        sql`(r.shape_key = any(array(select sh.shape_key from shapes sh where sh.names && ${names})) or r.others ?| ${names})`,
      );
    }
    return sql<StoredChange>`(
      select t.xid::text::int8 as xid, d.device_id, s.epoch, r.seq, r.ts, r.received_at, r.stream_key, r.shape_key, r.numbers, r.others
      from ${from}
      join unnest(${xids.map(String)}::xid8[]) as t (xid) on t.xid::xid = r.xmin
      join streams s on s.stream_key = r.stream_key join devices d on d.device_key = r.device_key
      where ${sql.join(conditions, sql` and `)}
      order by t.xid, r.stream_key, r.seq limit ${limit})`;
  }

  #toChange(row: StoredChange): ChangeRow {
    const { xid, stream_key: streamKey, seq, device_id: deviceId, epoch, ts, received_at: receivedAt } = row;
    const { metrics: wanted } = this.#query.filter;
    const metrics = toMetrics(
      this.#names.get(row.shape_key) ?? [],
      row.numbers,
      row.others,
      wanted === undefined ? undefined : new Set(wanted),
    );
    return {
      change: { deviceId, ts, epoch, seq, receivedAt, metrics },
      position: { xid, streamKey, seq },
      bytes: Buffer.byteLength(JSON.stringify(metrics)) + otherBytes,
    };
  }
}

interface StoredChange {
  readonly xid: number;
  readonly device_id: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly received_at: number;
  readonly stream_key: number;
  readonly shape_key: number;
  readonly numbers: number[];
  readonly others: Record<string, unknown> | null;
}

function isBeyond(one: ReadingPosition, other: ReadingPosition): boolean {
  return (
    one.xid - other.xid > 0 || (one.xid === other.xid && (one.streamKey - other.streamKey || one.seq - other.seq) > 0)
  );
}

/** The readings `r` of spans that do not overlap. */
function readingsOf(spans: readonly EnvelopeTimes[]): { from: RawBuilder<unknown>; within: RawBuilder<SqlBool> } {
  if (spans.length <= spansMax) {
    const alternatives = spans.map(
      (span) =>
        sql`(r.received_at between ${at(span.receivedMin)} and ${at(span.receivedMax)} and r.ts between ${at(span.tsMin)} and ${at(span.tsMax)})`,
    );
    return { from: sql`readings r`, within: sql`(${sql.join(alternatives, sql` or `)})` };
  }
  const times = (name: keyof EnvelopeTimes) =>
    sql`${spans.map((span) => new Date(span[name]).toISOString())}::timestamptz[]`;
  const columns = sql.join([times('receivedMin'), times('receivedMax'), times('tsMin'), times('tsMax')]);
  // `offset 0`: one look into the block range index for each span, whatever the planner estimates.
  return {
    from: sql`unnest(${columns}) as span (received_min, received_max, ts_min, ts_max)
      cross join lateral (
        select xmin, * from readings
        where received_at between span.received_min and span.received_max and ts between span.ts_min and span.ts_max offset 0
      ) as r`,
    within: sql`true`,
  };
}

/** Epoch milliseconds as a timestamp, exactly. */
function at(epochMs: number): RawBuilder<unknown> {
  return sql`${new Date(epochMs).toISOString()}::timestamptz`;
}

/** One snapshot for the whole page: a place in another server's order, after a fail-over in between, would skip readings. */
async function inSnapshot<T>(
  { pool }: Database,
  signal: AbortSignal | undefined,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return onConnection(pool, signal, async (client) => {
    await client.query('begin isolation level repeatable read, read only');
    try {
      // The block range index on received_at always finds them; without statistics, Postgres may think it worse than reading everything.
      await client.query('set local enable_seqscan = off');
      return await work(client);
    } finally {
      await client.query('rollback').catch(() => {});
    }
  });
}
