import { sql } from 'kysely';
import { startOfMinute } from '@fleetwire/contracts/edge-report';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** What was found in one minute when it was acknowledged, in readings. */
interface AcknowledgedMinute {
  readonly minute: number;
  readonly missing: number;
  readonly surplus: number;
}

/** An operator's statement that the findings of a time range are known. Times are epoch milliseconds. */
export interface Acknowledgement {
  readonly id: number;
  /** Half-open. */
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  readonly acknowledgedBy: string;
  readonly acknowledgedAt: number;
  /** Minutes that had findings. */
  readonly minutes: readonly AcknowledgedMinute[];
}

/** Of one range; the newest ones count. */
const acknowledgementsMax = 1_000;

const columns = sql`id, from_at as "from", to_at as "to", reason, acknowledged_by as "acknowledgedBy", acknowledged_at as "acknowledgedAt", minutes`;

export async function insertAcknowledgement(
  { db, pool }: Database,
  {
    from,
    to,
    reason,
    acknowledgedBy,
    minutes,
    signal,
  }: Omit<Acknowledgement, 'id' | 'acknowledgedAt'> & { readonly signal?: AbortSignal | undefined },
): Promise<Acknowledgement> {
  const query = sql<Acknowledgement>`
    insert into books_acknowledgements (from_at, to_at, reason, acknowledged_by, minutes)
    values (${new Date(from).toISOString()}, ${new Date(to).toISOString()}, ${reason}, ${acknowledgedBy}, ${JSON.stringify(minutes)}::jsonb)
    returning ${columns}`;
  const [inserted] = await fetchRows(pool, query.compile(db), signal);
  return inserted!;
}

/** Those that overlap a range of minutes, newest first. */
export async function readAcknowledgements(
  { db, pool }: Database,
  {
    fromMinute,
    toMinute,
    signal,
  }: { readonly fromMinute: number; readonly toMinute: number; readonly signal?: AbortSignal | undefined },
): Promise<Acknowledgement[]> {
  const query = sql<Acknowledgement>`
    select ${columns} from books_acknowledgements
    where from_at < ${new Date(startOfMinute(toMinute)).toISOString()} and to_at > ${new Date(startOfMinute(fromMinute)).toISOString()}
    order by id desc limit ${acknowledgementsMax}`;
  return fetchRows(pool, query.compile(db), signal);
}
