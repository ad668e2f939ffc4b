import { type Command, CommanderError } from 'commander';
import { ApiProblem } from '@fleetwire/client/client';

/** Prints a result as text for an operator, or as JSON for a program. */
export function print(result: object, text: string, isJson: boolean): void {
  process.stdout.write(`${isJson ? JSON.stringify(result) : text}\n`);
}

/** Sets the command's action. An error becomes one line on standard error and exit code 1; wrong usage is left to `runCommandLine`. */
export function action(command: Command, run: (settings: never) => Promise<void>): Command {
  return command.action(async () => {
    const settings = command.opts();
    try {
      await run(settings as never);
    } catch (error) {
      if (error instanceof CommanderError) throw error;
      const message = inOptions(error instanceof Error ? error.message : String(error), command);
      const problem = error instanceof ApiProblem ? error.problem : undefined;
      const text = settings['json'] === true ? JSON.stringify({ error: message, problem }) : `error: ${message}`;
      process.stderr.write(`${text}\n`);
      process.exitCode = 1;
    }
  });
}

/** Names of fields whose option is called otherwise. `body.reason` is the reason of a decision; `body.filter.reason` is `--reason`. */
const renamed: Record<string, string> = {
  'body.reason': 'why',
  deviceId: 'device',
  ratePerSecond: 'rate',
  q: 'search',
};

/** The API's errors name fields of the request, such as `body.filter.deviceId`; the operator knows the command's options. */
function inOptions(message: string, command: Command): string {
  return message.replaceAll(/\b(?:body|query)(?:\.[a-z]\w*)*\.([a-z]\w*)/gi, (path, field: string) => {
    const kebab = field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const option = `--${renamed[path] ?? renamed[field] ?? kebab}`;
    return command.options.some(({ long }) => long === option) ? option : path;
  });
}

/** A table with aligned columns; numbers are aligned to the right. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell === null ? '-' : String(cell))));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const isNumeric = headings.map((_, column) => rows.every((row) => typeof row[column] === 'number'));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [headings, ...cells].map(line).join('\n');
}

/** Replaces control characters: text from devices must not reach the terminal as escape sequences. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{FFFD}');
}

export function shortened(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`;
}
