/** A command as it is typed: `report-now`, `set-point -18`, `mode {"value":"cooling"}`. */
export interface TypedCommand {
  readonly command: string;
  readonly args?: unknown;
}

/** The first word is the command; the rest is its arguments: JSON where it is JSON, else a text. */
export function parseCommand(typed: string): TypedCommand | undefined {
  const [, command, rest] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(typed) ?? [];
  if (command === undefined) return undefined;
  if (rest === undefined || rest === '') return { command };
  try {
    return { command, args: JSON.parse(rest.replace('\u2212', '-')) as unknown };
  } catch {
    return { command, args: rest };
  }
}

/** `set-point −18`: a command with its arguments, in short. */
export function commandText({ command, args }: TypedCommand): string {
  if (args === null || args === undefined) return command;
  const text = typeof args === 'string' ? args : JSON.stringify(args);
  return text === '{}' ? command : `${command} ${text}`;
}
