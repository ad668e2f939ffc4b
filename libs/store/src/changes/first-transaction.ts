import type pg from 'pg';
import { isOwnTransaction } from './storing-transactions.ts';

/** More transactions than a server has open at any one time, also one whose `max_connections` was greater when they were. */
const openMax = `greatest(1000, 2 * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int))`;
/** Rows in which so many transactions are looked for: most have one. */
const rowsMax = 4_000;
/** In words that no index on times has: Postgres would read all rows by it, and sort them. */
const isSettled = `isfinite(settled_at) and ${isOwnTransaction}`;

/**
 * A transaction before which none began at a time or later, found by a few looks into the index of ids.
 *
 * Times are those at which transactions began, ids are given when they first write: one that paused in between has a greater id than its time
 * says, so that no single row proves anything. But where more transactions in a row than can be open side by side began before the time, the first
 * of them got its id before it, or all of them were open at that time; and so did every transaction before it.
 * @param range ids among which it is looked for
 * @returns undefined where the time lies near the first of the rows
 */
export async function transactionBefore(
  client: Pick<pg.ClientBase, 'query'>,
  { from, to }: { readonly from: number; readonly to: number },
  time: string,
): Promise<number | undefined> {
  let [low, high] = [from, to];
  while (high - low > rowsMax) {
    const middle = Math.floor((low + high) / 2);
    const { rows } = await client.query<{ xid: number; isSince: boolean }>({
      name: 'first_transaction_from',
      text: `select xid::text::int8 as xid, settled_at >= $2 as "isSince" from envelopes
        where xid >= $1::xid8 and ${isSettled} order by envelopes.xid limit 1`,
      values: [middle, time],
    });
    const [row] = rows;
    if (row === undefined || row.isSince || row.xid >= high) high = middle;
    else low = row.xid;
  }
  for (let back = rowsMax; ; back *= 2) {
    const start = Math.max(from, low - back);
    const { rows } = await client.query<{ isBefore: boolean }>({
      name: 'transactions_before',
      text: `select coalesce(count(distinct xid) > ${openMax} and bool_and(settled_at < $2), false) as "isBefore" from (
          select xid, settled_at from envelopes where xid >= $1::xid8 and ${isSettled} order by xid limit ${rowsMax}
        ) as e`,
      values: [start, time],
    });
    if (rows[0]!.isBefore) return start;
    if (start === from) return undefined;
  }
}
