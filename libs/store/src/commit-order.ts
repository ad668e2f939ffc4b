import { type RawBuilder, sql, type SqlBool } from 'kysely';

/**
 * A reader's place among rows in the order in which their transactions became visible. Each row has the id of its transaction (`xid8`,
 * `pg_current_xact_id()`) and a key. What became visible between two snapshots is read in one pass, however long each transaction was
 * open: a row of a transaction that was in progress at the first snapshot is not skipped. A key or a time alone would skip it.
 */
export interface CommitPosition {
  /** Everything visible in this snapshot has been read; as Postgres writes a `pg_snapshot`: `xmin:xmax:xip,xip`. */
  readonly done: string;
  /** The snapshot of a pass that has more than one page, and the last row read. */
  readonly pass?: { readonly snapshot: string; readonly xid: string; readonly key: number };
}

/** Asked of a hot standby: its snapshots list no transaction in progress, so a reader would skip rows for ever. */
export class ReadReplicaError extends Error {
  override readonly name = 'ReadReplicaError';

  constructor() {
    super('the database is a standby; rows in commit order can only be read from the primary');
  }
}

/** Before every transaction: Postgres counts ordinary ones from 3. */
export const beginningOfCommits: CommitPosition = { done: '3:3:' };

/** `order by` for {@link isCommittedAfter}. */
export function commitOrder({ xid, key }: CommitColumns): RawBuilder<unknown> {
  return sql`${xid}, ${key}`;
}

interface CommitColumns {
  readonly xid: RawBuilder<unknown>;
  readonly key: RawBuilder<unknown>;
}

/** The rows that follow a position, for a statement that reads them by (xid, key) and reads `pg_current_snapshot()` as well. */
export function isCommittedAfter({ done, pass }: CommitPosition, { xid, key }: CommitColumns): RawBuilder<SqlBool> {
  const { xmin, xmax, inProgress } = parseSnapshot(done);
  // The first condition follows from the second; it lets the index begin there.
  const since = sql<SqlBool>`${xid} >= ${xmin}::xid8 and (${xid} >= ${xmax}::xid8 or ${xid} = any(${inProgress}::xid8[]))`;
  if (pass === undefined) return since;
  return sql`${since} and pg_visible_in_snapshot(${xid}, ${pass.snapshot}::pg_snapshot)
    and (${xid}, ${key}) > (${pass.xid}::xid8, ${pass.key}::int8)`;
}

/**
 * The position after a page.
 * @param page.snapshot of the statement that read it
 * @param page.last the last row, where the page was full: more rows may follow
 */
export function positionAfter(
  { done, pass }: CommitPosition,
  page: { readonly snapshot: string; readonly last: { readonly xid: string; readonly key: number } | undefined },
): CommitPosition {
  const snapshot = pass?.snapshot ?? page.snapshot;
  return page.last === undefined ? { done: snapshot } : { done, pass: { snapshot, ...page.last } };
}

export function parseSnapshot(text: string): { xmin: string; xmax: string; inProgress: string[] } {
  const [xmin, xmax, list] = text.split(':');
  if (xmin === undefined || xmax === undefined || list === undefined)
    throw new TypeError(`not a snapshot: ${JSON.stringify(text)}`);
  return { xmin, xmax, inProgress: list === '' ? [] : list.split(',') };
}
