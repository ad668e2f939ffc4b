import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { classifyFailure } from '../failure.ts';

/** Only these may have failed for what was around them, and not for what they are. */
const reasons: readonly DeadLetterReason[] = ['retries-exhausted', 'delivery-limit'];

export interface TransientSearch {
  /** Dead letters that were replayed by themselves as often as this are left to people. */
  readonly automaticReplaysMax: number;
  /** The trouble should be over: they must have arrived this long ago. */
  readonly settledMs: number;
  readonly signal?: AbortSignal;
}

/** Fingerprints of open dead letters that are worth another try without anybody having looked. */
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
 * Whether the failure says nothing against the reading: the classes that wait or try again (failure.ts), by the rules of this release;
 * and what the broker gave up on, because then nobody judged it.
 */
export function isTransient({ reason, code, message }: { reason: string; code: string; message: string }): boolean {
  if (reason === 'delivery-limit') return true;
  if (reason !== 'retries-exhausted') return false;
  const error = code === 'unknown' ? new Error(message) : Object.assign(new Error(message), { code });
  return ['hold', 'retry-now'].includes(classifyFailure(error));
}
