import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { type RawBuilder, sql, type SqlBool } from 'kysely';

/**
 * `open`: it waits for a decision. `replaying`: published again, and nobody knows yet what became of it. `stored`: its identity is in
 * the ledger. `discarded`: somebody decided that it is not needed.
 */
export const deadLetterStatuses = ['open', 'replaying', 'stored', 'discarded'] as const;
export type DeadLetterStatus = (typeof deadLetterStatuses)[number];

/** Which dead letters are meant; what is left out does not narrow. Times are epoch milliseconds, half-open, of the last failure. */
export interface Selection {
  readonly ids?: readonly string[] | undefined;
  readonly fingerprints?: readonly string[] | undefined;
  readonly deviceId?: string | undefined;
  readonly reason?: DeadLetterReason | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly statuses?: readonly DeadLetterStatus[] | undefined;
  /** Replayed by themselves fewer times than this. */
  readonly automaticReplaysBelow?: number | undefined;
}

/** The selection as a condition on `dead_letters d`. */
export function selected(selection: Selection): RawBuilder<SqlBool> {
  const { ids, fingerprints, deviceId, reason, from, to, statuses, automaticReplaysBelow } = selection;
  const conditions: RawBuilder<SqlBool>[] = [];
  if (ids !== undefined) conditions.push(sql`d.id = any(${ids}::text[])`);
  if (fingerprints !== undefined) conditions.push(sql`d.fingerprint = any(${fingerprints}::text[])`);
  if (deviceId !== undefined) conditions.push(sql`d.device_id = ${deviceId}`);
  if (reason !== undefined) conditions.push(sql`d.reason = ${reason}`);
  if (from !== undefined) conditions.push(sql`d.last_failed_at >= ${instant(from)}`);
  if (to !== undefined) conditions.push(sql`d.last_failed_at < ${instant(to)}`);
  if (statuses !== undefined) conditions.push(sql`d.status = any(${statuses}::text[])`);
  if (automaticReplaysBelow !== undefined) conditions.push(sql`d.automatic_replays < ${automaticReplaysBelow}`);
  return conditions.length === 0 ? sql<SqlBool>`true` : sql.join(conditions, sql` and `);
}

function instant(epochMs: number): RawBuilder<number> {
  return sql`${new Date(epochMs).toISOString()}::timestamptz`;
}
