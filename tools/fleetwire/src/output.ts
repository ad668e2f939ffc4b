import type { Command } from 'commander';

/** Prints a result for people, or as JSON for programs. */
export function print(result: object, text: string, isJson: boolean): void {
  process.stdout.write(`${isJson ? JSON.stringify(result) : text}\n`);
}

/** Makes an action of a function: what it throws becomes one line and exit code 1. */
export function action<Settings>(command: Command, run: (settings: Settings) => Promise<void>): Command {
  return command.action(async () => {
    try {
      await run(command.opts() as Settings);
    } catch (error) {
      process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 1;
    }
  });
}
