import type { CommandChange } from '@fleetwire/contracts/command-event';
import { sql } from 'kysely';

/**
 * `queued` → `sent` (written to a socket of the device) → `delivered` (the device has it) → `succeeded` or `failed` (its answer). The others end
 * a command without an answer. Of two that end it, one does; an answer after the end is kept beside it.
 */
export const commandStates = [
  'queued',
  'sent',
  'delivered',
  'succeeded',
  'failed',
  'timed-out',
  'expired',
  'cancelled',
] as const;
export type CommandState = (typeof commandStates)[number];

/** `now`: at most once, for the session that the device has. `when-online`: at least once, when it has a session, until `expiresAt`. */
export const commandModes = ['now', 'when-online'] as const;
export type CommandMode = (typeof commandModes)[number];

/** Codes of commands that fail without an answer of the device. */
export const commandFailures = {
  unknown: 'device-unknown',
  offline: 'device-offline',
  tooManyAttempts: 'too-many-attempts',
} as const;

interface CommandFailure {
  readonly code: string;
  readonly message?: string;
}

/** What was asked for. Times are epoch milliseconds. */
export interface CommandRequest {
  readonly command: string;
  readonly args: unknown;
  readonly mode: CommandMode;
  readonly timeoutMs: number;
  /** Of the mode `when-online`. */
  readonly expiresAt: number | null;
}

export interface StoredCommand extends CommandRequest {
  /** Its place in lists: a later command has a greater one. */
  readonly number: number;
  readonly id: string;
  /** Of the job that sends it to many devices. */
  readonly jobId: string | null;
  readonly deviceId: string;
  readonly state: CommandState;
  readonly deadlineAt: number | null;
  readonly attempts: number;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly sentAt: number | null;
  readonly deliveredAt: number | null;
  readonly finishedAt: number | null;
  readonly result: unknown;
  readonly error: CommandFailure | null;
  /** The answer of the device after the command had ended. */
  readonly lateResult: unknown;
  readonly cancelledBy: string | null;
}

/** Of `commands c left join command_jobs j`. */
export const commandColumns = sql.raw(`
  c.number, c.id, j.id as "jobId", c.device_id as "deviceId", c.command, coalesce(c.args, j.args) as args, c.mode, c.state,
  c.timeout_ms as "timeoutMs", date_trunc('milliseconds', c.created_at) as "createdAt", c.created_by as "createdBy",
  date_trunc('milliseconds', c.expires_at) as "expiresAt", date_trunc('milliseconds', c.deadline_at) as "deadlineAt", c.attempts,
  c.sent_at as "sentAt", c.delivered_at as "deliveredAt", date_trunc('milliseconds', c.finished_at) as "finishedAt",
  c.result, c.error, c.late_result as "lateResult", c.cancelled_by as "cancelledBy"`);
export const fromCommands = sql.raw('from commands c left join command_jobs j on j.number = c.job_number');

/** What others are told of a command whose state has changed. */
export interface ChangedCommand extends CommandChange {
  readonly state: CommandState;
  readonly mode: CommandMode;
}

/** Of `commands`, for a `returning` clause. */
export const changedColumns = `id as "commandId", device_id as "deviceId", command, state, mode, attempts,
  (select j.id from command_jobs j where j.number = job_number) as "jobId", now() as at`;

/** The channel of Postgres (LISTEN, NOTIFY) that wakes the dispatcher. */
export const commandsChannel = 'fleetwire_commands';
