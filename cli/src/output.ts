import { type Command, CommanderError } from 'commander';
import { ApiProblem } from './api.ts';

/** Prints a result for people, or as JSON for programs. */
export function print(result: object, text: string, isJson: boolean): void {
  process.stdout.write(`${isJson ? JSON.stringify(result) : text}\n`);
}

/** Makes an action of a function of the command's options: what it throws becomes one line and exit code 1, but for wrong usage. */
export function action(command: Command, run: (settings: never) => Promise<void>): Command {
  return command.action(async () => {
    const settings = command.opts();
    try {
      await run(settings as never);
    } catch (error) {
      if (error instanceof CommanderError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      const problem = error instanceof ApiProblem ? error.problem : undefined;
      const text = settings['json'] === true ? JSON.stringify({ error: message, problem }) : `error: ${message}`;
      process.stderr.write(`${text}\n`);
      process.exitCode = 1;
    }
  });
}

/** Rows under their headings, as wide as they need to be; numbers stand to the right. */
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

/** What comes from devices may hold anything; a terminal must not obey it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{FFFD}');
}

export function shortened(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`;
}
