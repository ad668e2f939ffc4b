import type pg from 'pg';
import { parseSnapshot } from '../commit-order.ts';
import type { EnvelopeTimes } from '../positions/settled-envelope.ts';

/** A row of `envelopes`: a transaction that may have stored readings, and between which times they lie. */
export interface StoringTransaction extends EnvelopeTimes {
  readonly xid: number;
}

/** Rows that a dump has brought back have the ids of another installation: those are not the ids of the transactions that wrote them. */
export const isOwnTransaction = 'xmin = xid::xid';

export interface TransactionsQuery {
  /** What is visible in `snapshot` and not in `done`, from transaction `from` on. */
  readonly done: string;
  readonly snapshot: string;
  readonly from: number;
  /** Rows at least, where there are as many; all rows of the last transaction are among them. */
  readonly count: number;
}

/** In the order of their ids. Those that were in progress at `done` are few: they are looked up one by one. */
export async function storingTransactions(
  client: Pick<pg.ClientBase, 'query'>,
  { done, snapshot, from, count }: TransactionsQuery,
): Promise<StoringTransaction[]> {
  const { xmax, inProgress } = parseSnapshot(done);
  const select = (among: string): string => `(
    select xid, received_min, received_max, ts_min, ts_max from envelopes
    where ${among} and xid >= $3::xid8 and pg_visible_in_snapshot(xid, $4::pg_snapshot) and received_min is not null and ${isOwnTransaction}
    order by xid fetch first ${count} rows with ties)`;
  const { rows } = await client.query<StoringTransaction>(
    `select xid::text::int8 as xid, received_min as "receivedMin", received_max as "receivedMax", ts_min as "tsMin", ts_max as "tsMax"
     from (${select('xid = any($1::xid8[])')} union all ${select('xid >= $2::xid8 and xid < $5::xid8')}) as e
     order by e.xid fetch first ${count} rows with ties`,
    [inProgress, xmax, from, snapshot, parseSnapshot(snapshot).xmax],
  );
  return rows;
}

const dayMs = 24 * 60 * 60 * 1_000;
/** Spans that a statement finds by alternatives of its condition; more, which only one transaction may have, it reads span by span. */
export const spansMax = 64;

/**
 * Spans that hold all readings of the first transactions and do not overlap, at most 64, or those of one transaction; a reader looks at
 * everything that arrived within them.
 * @returns how many of the transactions' rows they are for: those of one transaction at least
 */
export function spansOf(rows: readonly StoringTransaction[]): { spans: EnvelopeTimes[]; count: number } {
  for (let count = rows.length; ;) {
    const spans = united(rows.slice(0, count));
    if (spans.length <= spansMax) return { spans, count };
    const last = rows.findIndex(({ xid }) => xid === rows[count >> 1]!.xid);
    if (last > 0) {
      count = last;
      continue;
    }
    // A wider span could hold everything that arrived in months.
    const ofFirst = rows.filter(({ xid }) => xid === rows[0]!.xid);
    return { spans: united(ofFirst), count: ofFirst.length };
  }
}

/** Unites neighbours, until none are left: arrivals within a second, device times within a week. */
function united(rows: readonly EnvelopeTimes[]): EnvelopeTimes[] {
  const spans = unitedOnce(rows);
  return spans.length === rows.length ? spans : united(spans);
}

function unitedOnce(rows: readonly EnvelopeTimes[]): EnvelopeTimes[] {
  const spans: EnvelopeTimes[] = [];
  for (const row of rows.toSorted((a, b) => a.receivedMin - b.receivedMin)) {
    const index = spans.findIndex(
      (span) =>
        row.receivedMin - span.receivedMax <= 1_000 &&
        row.tsMin - span.tsMax <= 7 * dayMs &&
        span.tsMin - row.tsMax <= 7 * dayMs,
    );
    const known = spans[index];
    if (known === undefined) spans.push(row);
    else
      spans[index] = {
        receivedMin: known.receivedMin,
        receivedMax: Math.max(known.receivedMax, row.receivedMax),
        tsMin: Math.min(known.tsMin, row.tsMin),
        tsMax: Math.max(known.tsMax, row.tsMax),
      };
  }
  return spans;
}
