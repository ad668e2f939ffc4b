import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { commandColumns, type CommandRequest, commandsChannel, type StoredCommand } from './command.ts';

export interface NewCommand extends CommandRequest {
  readonly id: string;
  readonly deviceId: string;
  readonly createdBy: string;
  readonly idempotencyKey: string | undefined;
  /** Of what was asked for: the same key with another request is a mistake. */
  readonly digest: string;
  /** The instance that waits for the result. */
  readonly replyTo: string | null;
  /** Commands of the device that have not ended. Calls at the same moment may exceed it by one each. */
  readonly pendingMax: number;
  readonly signal?: AbortSignal | undefined;
}

export type Created =
  | {
      readonly kind: 'created' | 'replayed';
      readonly command: StoredCommand;
      /** When the newest reading of the device was received. */
      readonly lastSeenAt: number | null;
    }
  | { readonly kind: 'other-request' | 'too-many-pending' };

/**
 * Enters a command. One that cannot be sent is entered as failed: of an unknown device, and of one that is offline in the mode `now`.
 * A key that was used before gives the first command.
 */
export async function createCommand(database: Database, command: NewCommand): Promise<Created> {
  for (;;) {
    const found = await tryToCreate(database, command);
    if (found.state !== null) {
      const { digest, isNew, lastSeenAt, ...stored } = found as Row & StoredCommand;
      if (digest !== command.digest) return { kind: 'other-request' };
      return { kind: isNew ? 'created' : 'replayed', command: stored, lastSeenAt };
    }
    if (found.pending >= command.pendingMax) return { kind: 'too-many-pending' };
    // A call with the same key was committed at the same moment; its command is there now.
  }
}

interface Row {
  readonly state: string | null;
  readonly digest: string;
  readonly isNew: boolean;
  readonly lastSeenAt: number | null;
  readonly pending: number;
}

async function tryToCreate(
  { db, pool }: Database,
  { deviceId, idempotencyKey, pendingMax, signal, ...command }: NewCommand,
): Promise<Row> {
  const columns = sql.raw(
    'number, id, job_number, device_id, command, args, mode, state, timeout_ms, created_at, created_by',
  );
  const more = sql.raw(
    'expires_at, deadline_at, attempts, sent_at, delivered_at, finished_at, result, error, late_result, cancelled_by, digest',
  );
  const { id, mode, timeoutMs, args, expiresAt, createdBy, digest, replyTo } = command;
  const query = sql<Row>`
    with device as (
      select l.received_at as last_seen_at, case
          when d.device_key is null and p.device_id is null then 'device-unknown'
          when p.status = 'offline' and ${mode} = 'now' then 'device-offline' end as failure
      from (select ${deviceId}::text as device_id) as wanted
      left join devices d using (device_id) left join device_latest l using (device_key) left join presence p using (device_id)
    ), pending as (
      select count(*) as n from (
        select from commands where device_id = ${deviceId} and finished_at is null limit ${pendingMax}) as found
    ), known as (
      select ${columns}, ${more} from commands where created_by = ${createdBy} and idempotency_key = ${idempotencyKey ?? null}
    ), created as (
      insert into commands (id, device_id, command, args, mode, state, timeout_ms, expires_at, deadline_at, due_at, finished_at, error,
        reply_to, created_by, idempotency_key, digest)
      select ${id}, ${deviceId}, ${command.command}, ${JSON.stringify(args ?? null)}::json, ${mode},
        case when failure is null then 'queued' else 'failed' end, ${timeoutMs}::int4, ${instant(expiresAt)},
        case when ${mode} = 'now' then now() + ${timeoutMs}::int4 * interval '1 ms' end,
        case when failure is null then now() end, case when failure is not null then now() end,
        case when failure is not null then json_build_object('code', failure) end,
        ${replyTo}, ${createdBy}, ${idempotencyKey ?? null}, ${digest}
      from device, pending where not exists (select from known) and n < ${pendingMax}
      on conflict (created_by, idempotency_key) where idempotency_key is not null do nothing
      returning ${columns}, ${more}
    ), c as (
      select *, true as is_new from created union all select *, false from known
    )
    select ${commandColumns}, c.digest, c.is_new as "isNew", device.last_seen_at as "lastSeenAt", pending.n as pending,
      (select pg_notify(${commandsChannel}, '') from created where state = 'queued')
    from pending, device left join c on true left join command_jobs j on j.number = c.job_number`;
  const [row] = await fetchRows(pool, query.compile(db), signal);
  return row as Row;
}

export function instant(epochMs: number | null) {
  return sql`${epochMs === null ? null : new Date(epochMs).toISOString()}::timestamptz`;
}
