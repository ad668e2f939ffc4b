import Type, { type Static } from 'typebox';
import { CommandError, CommandId, CommandName, issueOfArgs, issueOfResult } from './command.ts';
import { limits } from './limits.ts';
import { parserOf } from './schema-issue.ts';
import type { Parsed } from './validation-issue.ts';

/** The command as its device gets it. A device may get it again under the same id, and answers that with the same result. */
export interface ControlMessage {
  readonly type: 'control';
  readonly id: string;
  /** On a socket of a gateway. */
  readonly deviceId?: string;
  readonly command: string;
  readonly args: unknown;
  /** RFC 3339; an answer after it is late. */
  readonly expiresAt: string;
  readonly attempt: number;
}

/** A client sends a command to a device, or to many. query-api checks the members that are passed on to it. */
const ControlRequest = Type.Object({
  /** Chosen by the client; the answer carries it, and a repeated frame with it is the same command. */
  id: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,64}$' })),
  target: Type.String({
    minLength: 1,
    maxLength: limits.deviceIdCharactersMax,
    pattern: '^[A-Za-z0-9*?][A-Za-z0-9._:*?-]*$',
    description: 'A device id, or `*` or a pattern (`*` is any text, `?` one character) for many devices',
  }),
  command: CommandName,
  args: Type.Optional(Type.Unknown()),
  timeoutMs: Type.Optional(Type.Unknown()),
  mode: Type.Optional(Type.Unknown()),
  expiresAt: Type.Optional(Type.Unknown()),
  ratePerSecond: Type.Optional(Type.Unknown()),
  confirm: Type.Optional(Type.Unknown()),
});
export type ControlRequest = Static<typeof ControlRequest>;

/** Answer to `control` of a client: query-api has the command. */
export interface ControlAcceptedMessage {
  readonly type: 'control-accepted';
  /** Of the client's frame. */
  readonly id?: string;
  /** For `GET /api/v1/commands/{id}`. */
  readonly commandId: string;
  readonly target: string;
  /** Of a command to one device. */
  readonly state?: string;
  /** Of a command to many: how many devices. */
  readonly targets?: number;
}

/** Further codes of errors about commands. */
export type CommandErrorCode =
  | 'no-such-command'
  | 'device-unknown'
  | 'device-offline'
  | 'command-conflict'
  | 'command-refused'
  | 'unavailable';

const ControlResult = Type.Object({
  id: CommandId,
  ok: Type.Boolean(),
  result: Type.Optional(Type.Unknown()),
  error: Type.Optional(CommandError),
});
export type ControlResult = Static<typeof ControlResult>;

const parseRequest = parserOf(ControlRequest);
const parseResult = parserOf(ControlResult);

export const parseControlReceived = parserOf(Type.Object({ id: CommandId }));

export function parseControl(frame: unknown): Parsed<ControlRequest> {
  const parsed = parseRequest(frame);
  if (!parsed.ok) return parsed;
  const issue = issueOfArgs(parsed.value.args);
  return issue === undefined ? parsed : { ok: false, issue };
}

export function parseControlResult(frame: unknown): Parsed<ControlResult> {
  const parsed = parseResult(frame);
  if (!parsed.ok) return parsed;
  const issue = issueOfResult(parsed.value.ok ? parsed.value.result : parsed.value.error);
  return issue === undefined ? parsed : { ok: false, issue };
}

export const commandFrameTypes = ['control', 'control-received', 'control-result'] as const;
export type CommandFrameType = (typeof commandFrameTypes)[number];
