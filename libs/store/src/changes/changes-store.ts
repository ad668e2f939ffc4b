import type pg from 'pg';
import { parseSnapshot, ReadReplicaError } from '../commit-order.ts';
import { transactionBefore } from './first-transaction.ts';
import { isOwnTransaction } from './storing-transactions.ts';

/** Why changes cannot be followed from a place; the reader begins again, with a full copy or from a time. */
export class ChangesLostError extends Error {
  override readonly name = 'ChangesLostError';
  readonly reason: 'store-replaced' | 'too-old';
  /** The transactions that it knows are its own: it failed over, or was put back to an earlier time. */
  readonly isSameSystem: boolean;

  constructor(reason: ChangesLostError['reason'], isSameSystem = true) {
    super(
      reason === 'too-old' ? 'the transactions after it are deleted' : 'the database was restored or failed over since',
    );
    this.reason = reason;
    this.isSameSystem = isSameSystem;
  }
}

/** The newest transaction that was seen: in a database that was put back to before it, its id is given to another one. */
export interface SeenTransaction {
  readonly xid: number;
  /** As Postgres writes it, to the microsecond. */
  readonly settledAt: string;
}

/** What the present snapshot shows. */
export interface ChangesStore {
  /** System identifier, id of the table `envelopes` (restoring a dump makes a new one), and timeline. */
  readonly store: string;
  readonly snapshot: string;
  /** Epoch milliseconds, the clock of the database. */
  readonly now: number;
  /** What is known: all transactions after `afterXid`, and all that began at `fromTime` or later. */
  readonly afterXid: number;
  readonly fromTime: number;
}

/** @throws {ReadReplicaError} on a standby: its snapshots list no transaction in progress, so readings would be skipped */
export async function readChangesStore(client: Pick<pg.ClientBase, 'query'>): Promise<ChangesStore> {
  // The control file has the old timeline for a while after a promotion.
  const { rows } = await client.query<Omit<ChangesStore, 'store'> & { store: string | null }>(`
    select case when not pg_is_in_recovery() then s.system_identifier || '/' || 'envelopes'::regclass::oid || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end as store,
      pg_current_snapshot()::text as snapshot, now() as now, k.from_time as "fromTime",
      case when k.installation = s.system_identifier then k.after_xid::text::int8 else 0 end as "afterXid"
    from pg_control_system() as s, changes_kept as k`);
  const { store, ...state } = rows[0]!;
  if (store === null) throw new ReadReplicaError();
  return { store, ...state };
}

/** @throws {ChangesLostError} */
export async function refuseLost(
  client: Pick<pg.ClientBase, 'query'>,
  { store, snapshot, afterXid }: ChangesStore,
  place: {
    readonly store: string;
    readonly done: string;
    readonly from: number;
    readonly seen?: SeenTransaction | undefined;
  },
): Promise<void> {
  const done = parseSnapshot(place.done);
  if (place.store !== store || Number(done.xmax) > Number(parseSnapshot(snapshot).xmax))
    throw new ChangesLostError('store-replaced', systemOf(place.store) === systemOf(store));
  if (afterXid >= Math.max(Number(done.xmin), place.from)) throw new ChangesLostError('too-old');
  const { seen } = place;
  if (seen === undefined || seen.xid <= afterXid) return;
  const { rowCount } = await client.query(
    `select from envelopes where xid = $1::xid8 and settled_at = $2 and ${isOwnTransaction} limit 1`,
    [seen.xid, seen.settledAt],
  );
  if (rowCount === 0) throw new ChangesLostError('store-replaced');
}

/** Without the timeline. */
function systemOf(store: string): string {
  return store.slice(0, store.lastIndexOf('/'));
}

/** The newest transaction that is visible. */
export async function newestTransaction(
  client: Pick<pg.ClientBase, 'query'>,
  { snapshot }: ChangesStore,
): Promise<SeenTransaction | undefined> {
  const { rows } = await client.query<SeenTransaction>(
    `select xid::text::int8 as xid, settled_at::text as "settledAt" from envelopes
     where xid < $1::xid8 and ${isOwnTransaction} order by envelopes.xid desc limit 1`,
    [parseSnapshot(snapshot).xmax],
  );
  return rows[0];
}

/**
 * A snapshot in which nothing is visible that began at a time or later.
 * @throws {ChangesLostError}
 */
export async function snapshotBefore(
  client: Pick<pg.ClientBase, 'query'>,
  { fromTime, afterXid, snapshot }: ChangesStore,
  time: number,
): Promise<string> {
  if (time < fromTime) throw new ChangesLostError('too-old');
  const since = new Date(time).toISOString();
  const ids = { from: afterXid, to: Number(parseSnapshot(snapshot).xmax) };
  const before = await transactionBefore(client, ids, since);
  const own = before === undefined ? await firstOfAll(client, since) : await firstAfter(client, before, since);
  // Without a row since then, all that is visible began before.
  if (own === null) return snapshot;
  // What is in progress may have begun since then, and is committed later.
  const open = parseSnapshot(snapshot).inProgress.filter((xid) => Number(xid) < own);
  return `${open[0] ?? own}:${own}:${open.join(',')}`;
}

/** The first transaction with an id from here on that began at a time or later. Rows of a dump are older: they were there when it was written. */
async function firstAfter(client: Pick<pg.ClientBase, 'query'>, xid: number, since: string): Promise<number | null> {
  const { rows } = await client.query<{ xid: number }>(
    `select xid::text::int8 as xid from envelopes
     where xid >= $1::xid8 and isfinite(settled_at) and settled_at >= $2 and ${isOwnTransaction} order by envelopes.xid limit 1`,
    [xid, since],
  );
  return rows[0]?.xid ?? null;
}

/** The same, by a look at all rows since then. @throws {ChangesLostError} where some came from a dump */
async function firstOfAll(client: Pick<pg.ClientBase, 'query'>, since: string): Promise<number | null> {
  const { rows } = await client.query<{ own: number | null; restored: boolean | null }>(
    `select min(xid::text::int8) filter (where ${isOwnTransaction}) as own, bool_or(not ${isOwnTransaction}) as restored
     from envelopes where settled_at >= $1 and settled_at < 'infinity'`,
    [since],
  );
  const { own, restored } = rows[0]!;
  if (restored) throw new ChangesLostError('store-replaced', false);
  return own;
}
