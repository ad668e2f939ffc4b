import { type CommandOutcome, notHereCodes } from '@fleetwire/contracts/command';
import type pg from 'pg';
import { inTransaction } from '../transaction.ts';
import { changedColumns, type ChangedCommand, commandFailures, commandsChannel } from './command.ts';

/** What an outcome has changed. */
interface AppliedOutcome {
  readonly change: ChangedCommand;
  /** From the request to the answer; null while there is none. */
  readonly roundTripMs: number | null;
}

/** A change, an answer after the end of the command, which is kept, or nothing. */
export type OutcomeResult = AppliedOutcome | 'late' | 'ignored';

type AppliedRow = ChangedCommand & Pick<AppliedOutcome, 'roundTripMs'>;

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * Records what edges report of commands. Outcomes may come in any order and more than once: a state never goes back, except from `sent` to
 * `queued` where the session ended before the device had the command, and `sent` and `not-here` count once for each attempt.
 *
 * Commands are changed in the order of their ids: all that waits for the locks of several takes them in this order.
 * @returns a result for each outcome, in their order
 */
export async function applyOutcomes(pool: pg.Pool, outcomes: readonly CommandOutcome[]): Promise<OutcomeResult[]> {
  const ordered = [...outcomes.entries()].toSorted(([, one], [, other]) => compare(one.commandId, other.commandId));
  return inTransaction(pool, async (client) => {
    // Sent together, and run one after the other.
    const applied = await Promise.all(ordered.map(([, outcome]) => run<AppliedRow>(client, changeBy(outcome))));
    const results: OutcomeResult[] = [];
    for (const [place, [index, outcome]] of ordered.entries()) {
      const row = applied[place];
      results[index] = row === undefined ? await lateOrIgnored(client, outcome) : appliedOf(row);
    }
    if (results.some((result) => typeof result === 'object' && result.change.state === 'queued'))
      await client.query(`select pg_notify('${commandsChannel}', '')`);
    return results;
  });
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function appliedOf({ roundTripMs, ...change }: AppliedRow): AppliedOutcome {
  return { change, roundTripMs };
}

async function lateOrIgnored(client: pg.PoolClient, outcome: CommandOutcome): Promise<'late' | 'ignored'> {
  return (await keepLateResult(client, outcome)) ? 'late' : 'ignored';
}

async function run<Row extends object>(client: pg.PoolClient, { text, values }: Statement): Promise<Row | undefined> {
  return (await client.query<Row>(text, [...values])).rows[0];
}

const returning = `returning ${changedColumns},
  extract(epoch from finished_at - created_at)::float8 * 1000 as "roundTripMs"`;

/** The change of the command where its state allows it. */
function changeBy(outcome: CommandOutcome): Statement {
  const { commandId, deviceId, attempt, edge } = outcome;
  const key = [commandId, deviceId, attempt];
  const seen = [...key, edge, timeOf(outcome)];
  switch (outcome.outcome) {
    case 'sent':
      // Reported again by an edge that was asked after the deadline: the session is open, and the device does not answer.
      return {
        text: `update commands set state = case state when 'queued' then 'sent' else 'timed-out' end, attempts = $3, edge = $4,
            sent_at = case state when 'queued' then $5 else sent_at end, dispatched_to = null,
            due_at = case state when 'queued' then deadline_at end, finished_at = case state when 'sent' then now() end
          where id = $1 and device_id = $2 and ((state = 'queued' and attempts = $3 - 1)
            or (state = 'sent' and attempts = $3 and dispatched_to = 'edge' and deadline_at <= now())) ${returning}`,
        values: seen,
      };
    case 'delivered':
      return {
        text: `update commands set state = 'delivered', attempts = $3, edge = $4, delivered_at = $5, due_at = deadline_at
          where id = $1 and device_id = $2 and state in ('queued', 'sent') and attempts <= $3 ${returning}`,
        values: seen,
      };
    case 'succeeded':
    case 'failed':
      return {
        text: `update commands set state = $4, attempts = greatest(attempts, $3), edge = $5, result = $6, error = $7, finished_at = now(), due_at = null
          where id = $1 and device_id = $2 and state in ('queued', 'sent', 'delivered') ${returning}`,
        values: [...key, outcome.outcome, edge, json(outcome.result), json(outcome.error)],
      };
    case 'not-here':
      return outcome.error?.code === notHereCodes.sessionEnded ? requeue(key) : tryAllEdges(key);
  }
}

/** The mode `now` is not sent again: the device may have got it. */
function requeue(key: readonly unknown[]): Statement {
  return {
    text: `update commands set state = 'queued', attempts = $3, dispatched_to = null, due_at = now() + interval '1 s'
      where id = $1 and device_id = $2 and mode = 'when-online'
        and ((state = 'sent' and attempts = $3) or (state = 'queued' and attempts = $3 - 1)) ${returning}`,
    values: key,
  };
}

function tryAllEdges(key: readonly unknown[]): Statement {
  return {
    text: `update commands set due_at = now()
      where id = $1 and device_id = $2 and state = 'queued' and attempts = $3 - 1 and dispatched_to = 'edge' ${returning}`,
    values: key,
  };
}

/** The first answer that comes after the command had ended without one. */
async function keepLateResult(client: pg.PoolClient, outcome: CommandOutcome): Promise<boolean> {
  const { commandId, deviceId, result, error } = outcome;
  if (outcome.outcome !== 'succeeded' && outcome.outcome !== 'failed') return false;
  const { rowCount } = await client.query(
    `update commands set late_result = $3 where id = $1 and device_id = $2 and late_result is null
       and (state in ('timed-out', 'expired', 'cancelled') or (state = 'failed' and error ->> 'code' = any($4)))`,
    [
      commandId,
      deviceId,
      JSON.stringify({ ok: outcome.outcome === 'succeeded', result, error, at: timeOf(outcome) }),
      Object.values(commandFailures),
    ],
  );
  return (rowCount ?? 0) > 0;
}

/** The range of times is that of a date: outside it, a time is that of a broken clock. */
function timeOf({ occurredAt }: CommandOutcome): string {
  return new Date(Math.min(Math.max(occurredAt, 0), 8_640_000_000_000_000)).toISOString();
}

function json(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
