import Type, { type Static } from 'typebox';
import { CommandId, CommandName } from './command.ts';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';
import type { Parsed } from './validation-issue.ts';

/** Type of the message, and its routing key on the exchange `events`. */
export const commandChangedType = 'command.changed';
export const commandEventSchemaVersion = '1.0';

/** Changes in one message at most. */
export const commandChangesPerMessageMax = 500;

const CommandChange = Type.Object({
  commandId: CommandId,
  deviceId: DeviceId,
  command: CommandName,
  /** docs/commands.md */
  state: Type.String({ minLength: 1, maxLength: 32 }),
  mode: Type.String({ minLength: 1, maxLength: 32 }),
  /** How often it was written to a socket. */
  attempts: Type.Integer({ minimum: 0 }),
  /** Of the job that sends it to many devices. */
  jobId: Type.Union([CommandId, Type.Null()]),
  /** Epoch milliseconds, on the clock of the database. */
  at: Type.Integer(),
});
export type CommandChange = Static<typeof CommandChange>;

/**
 * What the states of commands have become: message on the exchange `events` after the commit, without arguments and results. Messages may be
 * lost, and those of different senders overtake each other: the table `commands` is the truth.
 */
export const CommandChanged = Type.Object({
  ...eventAttributes,
  type: Type.Literal(commandChangedType),
  changes: Type.Array(CommandChange, { minItems: 1, maxItems: commandChangesPerMessageMax }),
});
export type CommandChanged = Static<typeof CommandChanged>;

const parse = parserOf(CommandChanged);

/** @returns the message, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodeCommandChanged(content: Buffer): Parsed<CommandChanged> {
  const event = decodeEvent(content, commandEventSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
