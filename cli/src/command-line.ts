import { type Command, CommanderError } from 'commander';

const usageExitCode = 2;

/** Parses the command line and runs the command. Wrong usage, which commander has already reported, becomes exit code 2. */
export async function runCommandLine(command: Command, argv: readonly string[]): Promise<void> {
  for (const one of [command, ...command.commands.flatMap((child) => [child, ...child.commands])]) one.exitOverride();
  try {
    await command.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : usageExitCode;
  }
}
