import { type RawBuilder, sql, type SqlBool } from 'kysely';
import type pg from 'pg';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import {
  changedColumns,
  type ChangedCommand,
  type CommandRequest,
  commandsChannel,
  type CommandState,
} from './command.ts';
import { instant } from './create.ts';

/** Which devices a job is for: all, those whose ids match a pattern (`*` is any text, `?` one character), or those with a tag. */
type CommandTarget = '*' | { readonly pattern: string } | { readonly tag: string };

export interface NewCommandJob extends CommandRequest {
  readonly id: string;
  readonly target: CommandTarget;
  readonly ratePerSecond: number;
  readonly createdBy: string;
  readonly idempotencyKey: string | undefined;
  readonly digest: string;
  readonly targetsMax: number;
  readonly signal?: AbortSignal | undefined;
}

export interface StoredCommandJob extends Omit<CommandRequest, 'timeoutMs' | 'expiresAt'> {
  readonly id: string;
  readonly target: CommandTarget;
  readonly ratePerSecond: number;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly cancelledBy: string | null;
  readonly states: Readonly<Partial<Record<CommandState, number>>>;
}

export type CreatedJob =
  | { readonly kind: 'created' | 'replayed'; readonly id: string; readonly targets: number }
  | { readonly kind: 'other-request' | 'no-device' | 'too-many-devices' };

/** Enters a command for each device of the target, as the registry is now. Devices that are retired are left out. */
export async function createCommandJob(database: Database, job: NewCommandJob): Promise<CreatedJob> {
  for (;;) {
    const { known, knownDigest, targets, created } = await tryToCreate(database, job);
    if (known !== null && knownDigest !== job.digest) return { kind: 'other-request' };
    if (known !== null) return { kind: 'replayed', id: known, targets };
    if (created > 0) return { kind: 'created', id: job.id, targets: created };
    if (targets === 0) return { kind: 'no-device' };
    if (targets > job.targetsMax) return { kind: 'too-many-devices' };
    // A call with the same key was committed at the same moment; its job is there now.
  }
}

interface JobRow {
  readonly known: string | null;
  readonly knownDigest: string | null;
  readonly targets: number;
  readonly created: number;
}

async function tryToCreate(
  { db, pool }: Database,
  { signal, target, targetsMax, idempotencyKey: key, ...job }: NewCommandJob,
): Promise<JobRow> {
  const { id, command, args, mode, timeoutMs, expiresAt, ratePerSecond, createdBy, digest } = job;
  const idempotencyKey = key ?? null;
  const query = sql<JobRow>`
    with known as (
      select j.id, j.digest, (select count(*) from commands c where c.job_number = j.number) as targets
      from command_jobs j where j.created_by = ${createdBy} and j.idempotency_key = ${idempotencyKey}
    ), targets as materialized (
      select d.device_id from devices d where d.status <> 'retired' and ${isTarget(target)} order by d.device_id limit ${targetsMax + 1}
    ), found as (
      select count(*) as n from targets
    ), job as (
      insert into command_jobs (id, target, command, args, mode, rate_per_second, next_release_at, created_by, idempotency_key, digest)
      select ${id}, ${JSON.stringify(target)}::jsonb, ${command}, ${JSON.stringify(args ?? null)}::json, ${mode}, ${ratePerSecond}::int4, now(),
        ${createdBy}, ${idempotencyKey}, ${digest}
      from found where n between 1 and ${targetsMax} and not exists (select from known)
      on conflict (created_by, idempotency_key) where idempotency_key is not null do nothing
      returning number
    ), created as (
      insert into commands (id, job_number, device_id, command, mode, state, timeout_ms, expires_at, created_by)
      select gen_random_uuid()::text, job.number, device_id, ${command}, ${mode}, 'queued', ${timeoutMs}::int4, ${instant(expiresAt)}, ${createdBy}
      from targets, job
      returning number
    )
    select (select id from known) as known, (select digest from known) as "knownDigest",
      coalesce((select targets from known), found.n) as targets, (select count(*) from created) as created,
      (select pg_notify(${commandsChannel}, '') from job)
    from found`;
  const [row] = await fetchRows(pool, query.compile(db), signal);
  return row as JobRow;
}

function isTarget(target: CommandTarget): RawBuilder<SqlBool> {
  if (target === '*') return sql`true`;
  if ('tag' in target) return sql`d.tags @> array[${target.tag}]::text[]`;
  const like = target.pattern
    .replaceAll(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_');
  return sql`d.device_id like ${like}`;
}

/** @returns undefined where there is none */
export async function getCommandJob(
  { db, pool }: Database,
  { id, signal }: { readonly id: string; readonly signal?: AbortSignal | undefined },
): Promise<StoredCommandJob | undefined> {
  const query = sql<StoredCommandJob>`
    select id, target, command, args, mode, rate_per_second as "ratePerSecond", date_trunc('milliseconds', created_at) as "createdAt",
      created_by as "createdBy", cancelled_by as "cancelledBy", (
        select coalesce(json_object_agg(state, n), '{}')
        from (select state, count(*) as n from commands c where c.job_number = j.number group by 1) as counted
      ) as states
    from command_jobs j where id = ${id}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/**
 * Cancels the commands of a job that are `queued` or `sent`. They are locked in the order of ids, as all that waits for the locks of several
 * commands does. @returns those, or undefined where there is no such job
 */
export async function cancelCommandJob(
  { db, pool }: Database,
  { id, actor, signal }: { readonly id: string; readonly actor: string; readonly signal?: AbortSignal | undefined },
): Promise<ChangedCommand[] | undefined> {
  const query = sql<ChangedCommand | { readonly commandId: null }>`
    with job as (
      update command_jobs set next_release_at = null, cancelled_by = coalesce(cancelled_by, ${actor}) where id = ${id} returning number
    ), locked as materialized (
      select c.id as locked from commands c, job where c.job_number = job.number and c.state in ('queued', 'sent') order by c.id for update of c
    ), cancelled as (
      update commands set state = 'cancelled', finished_at = now(), due_at = null, cancelled_by = ${actor}
      from locked where id = locked and state in ('queued', 'sent') returning ${sql.raw(changedColumns)}
    )
    select cancelled.* from job left join cancelled on true`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return rows.length === 0 ? undefined : rows.filter((row) => row.commandId !== null);
}

/**
 * Makes the next commands of one job due, as many as its rate allows; a pause of all workers is not caught up. Any number of processes may do
 * so at the same time.
 * @returns whether a job was due
 */
export async function releaseCommands(pool: pg.Pool): Promise<boolean> {
  const { rowCount } = await pool.query(
    `with job as (
       -- About five times a second, or less often, one command at a time.
       select number, ceil(rate_per_second / 5.0)::int4 as n, ceil(rate_per_second / 5.0) / rate_per_second * interval '1 s' as pause
       from command_jobs where next_release_at <= now() order by next_release_at limit 1 for update skip locked
     ), released as (
       update commands c set due_at = now(), deadline_at = case when c.mode = 'now' then now() + c.timeout_ms * interval '1 ms' end
       where c.number in (
         select number from commands
         where job_number = (select number from job) and state = 'queued' and due_at is null order by number limit (select n from job))
         and c.state = 'queued'
       returning c.number
     )
     update command_jobs j set next_release_at = case
       when exists (select from released) then greatest(j.next_release_at, now() - job.pause) + job.pause end
     from job where j.number = job.number`,
  );
  return (rowCount ?? 0) > 0;
}
