import { createHash } from 'node:crypto';
import { CommandName, issueOfArgs } from '@fleetwire/contracts/command';
import { limits } from '@fleetwire/contracts/limits';
import { type FieldProblem, Problem, unprocessable } from '@fleetwire/runtime/problem';
import { commandModes, type CommandMode, type CommandRequest } from '@fleetwire/store/commands/command';
import { commandKeyHours } from '@fleetwire/store/commands/retention';
import Type from 'typebox';
import { bodyProblem } from '../router.ts';
import { instantForms, parseInstant } from '../time-range.ts';

const commandTimeoutMsDefault = 10_000;
const hourMs = 3_600_000;
const expiresAfterMsDefault = 24 * hourMs;
const expiresAfterMsMax = 30 * 24 * hourMs;

/** Of one device and of many. */
export const commandFields = {
  command: CommandName,
  args: Type.Optional(Type.Unknown({ description: `Any JSON, at most ${limits.commandArgsBytesMax} bytes` })),
  mode: Type.Optional(
    Type.Enum([...commandModes], {
      default: 'now',
      description:
        'now: only to the session that the device has, at most once; when-online: also later, until expiresAt, at least once with the same id',
    }),
  ),
  timeoutMs: Type.Optional(
    Type.Integer({
      minimum: 1,
      default: commandTimeoutMsDefault,
      description: 'How long the device may take to answer (COMMAND_TIMEOUT_MS_MAX)',
    }),
  ),
  expiresAt: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 40,
      description: 'Only with when-online: until when it may be sent; a day from now if left out, at most 30 days',
      examples: ['now+2h', '2026-12-01T00:00:00Z'],
    }),
  ),
};

export const idempotencyKey = {
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description: `With it you may repeat the call after any failure: the command is made once. Kept for ${commandKeyHours} hours`,
      examples: ['set-threshold-2026-11-22-0001'],
    }),
  ),
};

export const replayedHeader = { 'Idempotency-Replayed': '`true`: the answer is about the command of the first call' };

interface CommandBody {
  readonly command: string;
  readonly args?: unknown;
  readonly mode?: CommandMode;
  readonly timeoutMs?: number;
  readonly expiresAt?: string;
}

/** @throws {Problem} 422 naming the limit that the body breaks */
export function commandRequest(
  { command, args = null, mode = 'now', timeoutMs = commandTimeoutMsDefault, expiresAt }: CommandBody,
  { now, timeoutMsMax }: { readonly now: number; readonly timeoutMsMax: number },
): CommandRequest {
  const issue = issueOfArgs(args);
  if (issue !== undefined) throw refusal(bodyProblem(issue));
  if (timeoutMs > timeoutMsMax)
    throw refusal({ field: 'body.timeoutMs', detail: `may be at most ${timeoutMsMax} ms (COMMAND_TIMEOUT_MS_MAX)` });
  if (mode === 'now') {
    if (expiresAt === undefined) return { command, args, mode, timeoutMs, expiresAt: null };
    throw refusal({
      field: 'body.expiresAt',
      detail: 'is for the mode when-online; with now, timeoutMs says how long',
    });
  }
  const expires = expiresAt === undefined ? now + expiresAfterMsDefault : parseInstant(expiresAt, now);
  if (expires === undefined) throw refusal({ field: 'body.expiresAt', detail: `must be ${instantForms}` });
  if (expires <= now || expires > now + expiresAfterMsMax)
    throw refusal({ field: 'body.expiresAt', detail: 'must be in the future, at most 30 days' });
  return { command, args, mode, timeoutMs, expiresAt: expires };
}

function refusal(error: FieldProblem): Problem {
  return unprocessable('The command would break a limit', [error]);
}

/** Of what was asked for, so that the same key with another request is noticed. */
export function digestOf(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('base64url');
}

export function keyConflict(): Problem {
  return new Problem(409, 'Idempotency conflict', {
    detail: 'This Idempotency-Key was used for another command; use a new key for a new command',
    extensions: { code: 'idempotency-conflict' },
  });
}
