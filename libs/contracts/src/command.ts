import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId } from './identifiers.ts';
import { findUnstorableText } from './json-text.ts';
import { limits } from './limits.ts';
import { parserOf } from './schema-issue.ts';
import { type Parsed, type ValidationIssue, refused } from './validation-issue.ts';

export const commandTypes = { dispatch: 'command.dispatch', outcome: 'command.outcome' } as const;
export const commandSchemaVersion = '1.0';

export const CommandId = Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$', description: 'Id of a command' });

export const CommandName = Type.String({
  pattern: `^[A-Za-z0-9_.:-]{1,${limits.commandNameCharactersMax}}$`,
  description: `Name of a command: letters, digits and _ . : - (at most ${limits.commandNameCharactersMax} characters)`,
});

const Instant = Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description: 'Epoch milliseconds' });
const InstanceId = Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' });
const Attempt = Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 });

/** Why a command failed: a code for programs and a sentence for operators. */
export const CommandError = Type.Object({
  code: Type.String({ minLength: 1, maxLength: 64 }),
  message: Type.Optional(Type.String({ maxLength: limits.textValueCharactersMax })),
});

/** A command on its way to the edge that holds the device. Its id is the command's; a second attempt has the same. */
const CommandDispatch = Type.Object({
  ...eventAttributes,
  id: CommandId,
  type: Type.Literal(commandTypes.dispatch),
  deviceId: DeviceId,
  command: CommandName,
  args: Type.Unknown(),
  /** Counts deliveries to an edge, from 1. */
  attempt: Attempt,
  /** Until when the device may answer. */
  deadlineAt: Instant,
  /** The instance that waits for the outcome, in the outcome's routing key. */
  replyTo: Type.Union([InstanceId, Type.Null()]),
});
export type CommandDispatch = Static<typeof CommandDispatch>;

/** Codes of the error of `not-here`; without one the edge has no socket of the device. */
export const notHereCodes = {
  /** It ended after the command was written to it, and before `delivered`. */
  sessionEnded: 'session-ended',
  /** The command was not written, because the edge has too many or the device does not read. */
  overloaded: 'overloaded',
} as const;

/**
 * - `sent`: the frame was written to the device's socket
 * - `not-here`: the device is not at this edge, or no longer; the code of `error` says why ({@link notHereCodes})
 * - `delivered`: the device has said that it received the command
 * - `succeeded`, `failed`: the device's answer
 */
const commandOutcomes = ['sent', 'not-here', 'delivered', 'succeeded', 'failed'] as const;

/** What an edge says about one attempt. Outcomes of an attempt may arrive in any order, and twice. */
const CommandOutcome = Type.Object({
  ...eventAttributes,
  type: Type.Literal(commandTypes.outcome),
  commandId: CommandId,
  deviceId: DeviceId,
  edge: InstanceId,
  attempt: Attempt,
  outcome: Type.Enum([...commandOutcomes]),
  /** Of `succeeded`, where the device gave one. */
  result: Type.Optional(Type.Unknown()),
  /** Of `failed` and `not-here`. */
  error: Type.Optional(CommandError),
});
export type CommandOutcome = Static<typeof CommandOutcome>;

const parseDispatch = parserOf(CommandDispatch);
const parseOutcome = parserOf(CommandOutcome);

export function encodeCommandDispatch(dispatch: CommandDispatch): Buffer {
  return Buffer.from(JSON.stringify(dispatch));
}

/** @returns the command, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodeCommandDispatch(content: Buffer): Parsed<CommandDispatch> {
  const event = decodeEvent(content, commandSchemaVersion);
  return event.ok ? parseDispatch(event.value) : event;
}

export function encodeCommandOutcome(outcome: CommandOutcome): Buffer {
  return Buffer.from(JSON.stringify(outcome));
}

export function decodeCommandOutcome(content: Buffer): Parsed<CommandOutcome> {
  const event = decodeEvent(content, commandSchemaVersion);
  return event.ok ? parseOutcome(event.value) : event;
}

/** Why arguments that a client sends for a command are refused, if they are. */
export function issueOfArgs(args: unknown): ValidationIssue | undefined {
  return issueOfJson('args', args, limits.commandArgsBytesMax, 'COMMAND_ARGS_BYTES_MAX');
}

/** Why a result that a device sends is refused, if it is. */
export function issueOfResult(result: unknown): ValidationIssue | undefined {
  return issueOfJson('result', result, limits.commandResultBytesMax, 'COMMAND_RESULT_BYTES_MAX');
}

function issueOfJson(field: string, value: unknown, bytesMax: number, name: string): ValidationIssue | undefined {
  if (value === undefined) return undefined;
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > bytesMax)
    return refused('limit-exceeded', field, `has ${bytes} bytes of JSON; at most ${bytesMax} are allowed (${name})`)
      .issue;
  return findUnstorableText(field, value);
}
