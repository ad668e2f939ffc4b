import type { InstanceIdentity } from '@fleetwire/contracts/instance-beat';
import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** One process of a service. Times are epoch milliseconds. */
export interface StoredInstance extends Readonly<InstanceIdentity> {
  /** When a query-api heard it last. */
  readonly seenAt: number;
  /** It has said that it ends. */
  readonly isFinished: boolean;
}

interface Signal {
  readonly signal?: AbortSignal | undefined;
}

/** An instance is forgotten when nothing was heard of it for this long. */
export const instanceKeptMs = 24 * 60 * 60 * 1_000;
const keptHours = instanceKeptMs / 3_600_000;
const readMax = 500;

/** Enters which instances were heard, and forgets those of which nothing was heard for a day. */
export async function recordInstances(
  { db, pool }: Database,
  { instances, signal }: Signal & { readonly instances: readonly StoredInstance[] },
): Promise<void> {
  const rows = instances.map(({ startedAt, seenAt, ...one }) => ({
    ...one,
    startedAt: new Date(startedAt).toISOString(),
    seenAt: new Date(seenAt).toISOString(),
  }));
  // Several query-apis hear the same beats: what another has just written is not written again.
  const query = sql`
    with expired as (delete from instances where seen_at < now() - ${sql.lit(keptHours)} * interval '1 hour')
    insert into instances as i (instance_id, service, name, version, started_at, seen_at, is_finished)
    select s."instanceId", s.service, s.name, s.version, s."startedAt", s."seenAt", s."isFinished"
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as s ("instanceId" text, service text, name text, version text,
      "startedAt" timestamptz, "seenAt" timestamptz, "isFinished" boolean)
    order by s."instanceId"
    on conflict (instance_id) do update
    set seen_at = greatest(i.seen_at, excluded.seen_at), is_finished = i.is_finished or excluded.is_finished
    where excluded.seen_at > i.seen_at + interval '5 seconds' or (excluded.is_finished and not i.is_finished)`;
  await fetchRows(pool, query.compile(db), signal);
}

/** Those of the last day, the newest first. */
export async function readInstances({ db, pool }: Database, { signal }: Signal): Promise<StoredInstance[]> {
  const query = sql<StoredInstance>`
    select service, instance_id as "instanceId", name, version, started_at as "startedAt", seen_at as "seenAt", is_finished as "isFinished"
    from instances where seen_at >= now() - ${sql.lit(keptHours)} * interval '1 hour'
    order by seen_at desc limit ${readMax}`;
  return fetchRows(pool, query.compile(db), signal);
}
