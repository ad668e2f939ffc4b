import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { classifyFailure } from '../failure.ts';

/** The reasons that need not lie in the reading itself. */
const reasons: readonly DeadLetterReason[] = ['retries-exhausted', 'delivery-limit'];

export interface TransientSearch {
  /** Dead letters that were replayed automatically this often are left to operators. */
  readonly automaticReplaysMax: number;
  /** They must have arrived this long ago, so that the cause is likely to be over. */
  readonly settledMs: number;
  readonly signal?: AbortSignal;
}

/** Fingerprints of open dead letters to be replayed automatically. */
export async function transientFingerprints(
  { pool, db }: Database,
  { automaticReplaysMax, settledMs, signal }: TransientSearch,
): Promise<string[]> {
  const query = sql<{ fingerprint: string; reason: DeadLetterReason; code: string; message: string }>`
    select distinct on (fingerprint) fingerprint, reason, error_code as code, error_message as message
    from dead_letters
    where status = 'open' and reason = any(${reasons}::text[]) and automatic_replays < ${automaticReplaysMax}
      and last_arrived_at <= now() - ${settledMs}::float8 * interval '1 millisecond'
    order by fingerprint limit 1000`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return rows.filter(isTransient).map(({ fingerprint }) => fingerprint);
}

/**
 * Whether the failure says nothing against the reading: errors of the classes `hold` and `retry-now` (failure.ts), by the rules of this
 * release, and messages past the broker's delivery limit, which the database never refused.
 */
export function isTransient({ reason, code, message }: { reason: string; code: string; message: string }): boolean {
  if (reason === 'delivery-limit') return true;
  if (reason !== 'retries-exhausted') return false;
  const error = code === 'unknown' ? new Error(message) : Object.assign(new Error(message), { code });
  return ['hold', 'retry-now'].includes(classifyFailure(error));
}
