import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { type RawBuilder, sql, type SqlBool } from 'kysely';

/**
 * | Status | Meaning | Followed by |
 * | --- | --- | --- |
 * | `open` | needs a decision | `replaying`, `discarded` |
 * | `replaying` | published again, the outcome is not known yet | `stored`, `open` |
 * | `stored` | its identity is in the sequence ledger | `replaying` |
 * | `discarded` | an operator discarded it | `open` |
 */
export const deadLetterStatuses = ['open', 'replaying', 'stored', 'discarded'] as const;
export type DeadLetterStatus = (typeof deadLetterStatuses)[number];

/** A choice of dead letters; a member that is absent matches all. Times are epoch milliseconds, half-open, of the last failure. */
export interface Selection {
  readonly ids?: readonly string[] | undefined;
  readonly fingerprints?: readonly string[] | undefined;
  readonly deviceId?: string | undefined;
  readonly reason?: DeadLetterReason | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly statuses?: readonly DeadLetterStatus[] | undefined;
  /** Replayed automatically fewer times than this. */
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
