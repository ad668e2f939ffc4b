import type pg from 'pg';
import { inTransaction } from '../transaction.ts';
import { type ChangedCommand, commandsChannel, type CommandState } from './command.ts';
import { type DueCommand, nextStep, type NextStep } from './next-step.ts';

/** One attempt of a command that is to be published now. */
export interface CommandAttempt {
  readonly id: string;
  readonly deviceId: string;
  readonly command: string;
  readonly args: unknown;
  readonly attempt: number;
  /** Epoch milliseconds. */
  readonly deadlineAt: number;
  readonly replyTo: string | null;
  /** Null for all edges. */
  readonly edge: string | null;
}

export interface DueCommands {
  /** To be published, now that this is committed. */
  readonly attempts: readonly CommandAttempt[];
  /** Ended, or queued again. */
  readonly changed: readonly ChangedCommand[];
  /** Commands that were due; more may be where this is the limit. */
  readonly looked: number;
}

/** The edge that holds the device writes the command to its socket immediately; after this time there is none. */
const edgeAnswersMs = 2_000;
/**
 * Between two attempts for a device without a session: the age of the command. A device that connects, or whose readings begin to come,
 * does not wait for it.
 */
const postponeMs = { min: 30_000, max: 600_000 };

interface DueRow extends DueCommand, Omit<CommandAttempt, 'attempt' | 'deadlineAt' | 'edge'> {
  readonly number: number;
  readonly jobId: string | null;
  readonly timeoutMs: number;
  readonly createdAt: number;
  readonly deadlineAt: number | null;
  readonly now: number;
}

/**
 * Takes the commands that are due, decides what becomes of each, and records it. Any number of processes may do so at the same time. One that
 * is killed before it publishes an attempt leaves a command of the mode `now` without an answer until its deadline; of the mode `when-online`
 * another attempt follows.
 */
export async function takeDueCommands(pool: pg.Pool, { limit }: { readonly limit: number }): Promise<DueCommands> {
  return inTransaction(pool, async (client) => {
    const { rows } = await client.query<DueRow>(
      `select c.number, c.id, j.id as "jobId", c.device_id as "deviceId", c.command, coalesce(c.args, j.args) as args, c.state, c.mode,
         c.dispatched_to as "dispatchedTo", c.attempts, c.timeout_ms as "timeoutMs", c.reply_to as "replyTo",
         c.created_at as "createdAt", c.deadline_at as "deadlineAt", now() as now,
         coalesce(c.expires_at <= now(), false) as "isExpired", coalesce(c.deadline_at <= now(), false) as "isPastDeadline",
         s.edge, c.edge as "sentBy", coalesce(p.status = 'offline', false) as "isOffline"
       from commands c left join command_jobs j on j.number = c.job_number left join presence p on p.device_id = c.device_id
       left join lateral (
         select edge from connections o where o.device_id = c.device_id and o.ended_at is null order by o.started_at desc limit 1
       ) s on true
       where c.due_at <= now() order by c.due_at limit $1 for update of c skip locked`,
      [limit],
    );
    const changes = rows.map((row) => ({ row, step: nextStep(row), ...changeOf(row, nextStep(row)) }));
    if (changes.length > 0) await record(client, changes);
    return {
      attempts: changes.flatMap(({ row, step, deadlineAt }) => attemptsOf(row, step, deadlineAt)),
      changed: changes.flatMap(({ row, state }) => (state === row.state ? [] : [changedOf(row, state)])),
      looked: rows.length,
    };
  });
}

interface Change {
  readonly row: DueRow;
  readonly state: CommandState;
  readonly dispatchedTo: DueCommand['dispatchedTo'];
  /** Null once the command has ended. */
  readonly dueAt: number | null;
  readonly deadlineAt: number | null;
  readonly error: string | null;
}

function changeOf(row: DueRow, step: NextStep): Omit<Change, 'row'> {
  const { state, mode, now, timeoutMs, createdAt, deadlineAt, dispatchedTo } = row;
  const unchanged = { state, dispatchedTo, deadlineAt, error: null };
  switch (step.kind) {
    case 'dispatch': {
      const deadline = mode === 'now' ? (deadlineAt ?? now) : now + timeoutMs;
      // A command of the mode `now` to one edge is published once: only the edge itself says that it does not have the device.
      const dueAt = mode === 'now' && step.edge !== null ? deadline : Math.min(deadline, now + edgeAnswersMs);
      return { ...unchanged, dispatchedTo: step.edge === null ? 'edges' : 'edge', dueAt, deadlineAt: deadline };
    }
    case 'postpone': {
      const pauseMs = Math.min(postponeMs.max, Math.max(postponeMs.min, now - createdAt));
      return { ...unchanged, dispatchedTo: null, dueAt: now + pauseMs };
    }
    case 'ask':
      return { ...unchanged, dispatchedTo: 'edge', dueAt: now + edgeAnswersMs };
    case 'requeue':
      return { ...unchanged, state: 'queued', dispatchedTo: null, dueAt: now };
    case 'await':
      return { ...unchanged, dueAt: deadlineAt };
    case 'end': {
      const { code, message } = step;
      return {
        ...unchanged,
        state: step.state,
        dueAt: null,
        error: code === undefined ? null : JSON.stringify({ code, message }),
      };
    }
  }
}

function changedOf({ id, deviceId, command, mode, attempts, jobId, now }: DueRow, state: CommandState): ChangedCommand {
  return { commandId: id, deviceId, command, state, mode, attempts, jobId, at: now };
}

async function record(client: pg.PoolClient, changes: readonly Change[]): Promise<void> {
  await client.query(
    `update commands c set state = n.state, dispatched_to = n.dispatched_to, due_at = n.due_at, deadline_at = n.deadline_at, error = n.error,
       finished_at = case when n.due_at is null then now() end
     from unnest($1::int8[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::json[])
       as n (number, state, dispatched_to, due_at, deadline_at, error)
     where c.number = n.number`,
    [
      changes.map(({ row }) => row.number),
      changes.map(({ state }) => state),
      changes.map(({ dispatchedTo }) => dispatchedTo),
      changes.map(({ dueAt }) => timestamp(dueAt)),
      changes.map(({ deadlineAt }) => timestamp(deadlineAt)),
      changes.map(({ error }) => error),
    ],
  );
}

function timestamp(epochMs: number | null): string | null {
  return epochMs === null ? null : new Date(epochMs).toISOString();
}

function attemptsOf(row: DueRow, step: NextStep, deadlineAt: number | null): CommandAttempt[] {
  const { id, deviceId, command, args, attempts, replyTo, now } = row;
  const attempt = { id, deviceId, command, args, replyTo };
  if (step.kind === 'dispatch')
    return [{ ...attempt, attempt: attempts + 1, deadlineAt: deadlineAt ?? now, edge: step.edge }];
  // The same attempt again.
  return step.kind === 'ask'
    ? [{ ...attempt, attempt: attempts, deadlineAt: now + edgeAnswersMs, edge: step.edge }]
    : [];
}

type AttemptKey = Pick<CommandAttempt, 'id' | 'attempt'>;

/** No edge took these attempts: the next step of their commands follows immediately. */
export async function attemptsReturned(pool: pg.Pool, attempts: readonly AttemptKey[]): Promise<void> {
  if (attempts.length === 0) return;
  await pool.query(
    `${lockedAttempts} update commands c set due_at = now() from locked where c.id = locked.id`,
    keysOf(attempts),
  );
}

/** These attempts were not published, or the queue of the edge was full: they are made again a little later. */
export async function attemptsNotSent(
  pool: pg.Pool,
  attempts: readonly AttemptKey[],
  { retryMs }: { readonly retryMs: number },
): Promise<void> {
  if (attempts.length === 0) return;
  await pool.query(
    `${lockedAttempts} update commands c set dispatched_to = null, due_at = now() + $3 * interval '1 ms' from locked where c.id = locked.id`,
    [...keysOf(attempts), retryMs],
  );
}

// In the order of ids, as all that waits for the locks of several commands: ./outcomes.ts.
const lockedAttempts = `with locked as materialized (
    select c.id from commands c, unnest($1::text[], $2::int4[]) as a (id, attempt)
    where c.id = a.id and ((c.state = 'queued' and c.attempts = a.attempt - 1) or (c.state = 'sent' and c.attempts = a.attempt))
    order by c.id for update of c
  )`;

function keysOf(attempts: readonly AttemptKey[]): [string[], number[]] {
  return [attempts.map(({ id }) => id), attempts.map(({ attempt }) => attempt)];
}

/**
 * Queued commands of the mode `when-online` become due, because their devices have begun a session, or their readings have begun to come
 * through a gateway. An attempt to all edges that none has answered is made again. Rows that are locked are skipped: they change at this
 * moment, and become due later.
 */
export async function devicesCameOnline(
  client: Pick<pg.PoolClient, 'query'>,
  deviceIds: readonly string[],
): Promise<void> {
  if (deviceIds.length === 0) return;
  await client.query(
    `with due as (
       update commands set due_at = now(), dispatched_to = null where number in (
         select number from commands
         where device_id = any($1) and finished_at is null and state = 'queued' and mode = 'when-online'
           and dispatched_to is distinct from 'edge' and due_at > now()
         for update skip locked)
       returning number
     )
     select pg_notify('${commandsChannel}', '') where exists (select from due)`,
    [deviceIds],
  );
}

/** How long until the next command or job is due, at most `maxMs`. */
export async function timeToNextCommand(pool: pg.Pool, maxMs: number): Promise<number> {
  const { rows } = await pool.query<{ pause_ms: number }>(
    `select greatest(0, least($1::float8, extract(epoch from least(
       (select min(due_at) from commands where due_at is not null),
       (select min(next_release_at) from command_jobs where next_release_at is not null)
     ) - clock_timestamp()) * 1000))::float8 as pause_ms`,
    [maxMs],
  );
  return rows[0]?.pause_ms ?? maxMs;
}
