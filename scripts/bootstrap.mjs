// Entry point of `npm start`, `npm test` and the other commands. It installs what the repository needs (Node, pnpm, packages) and then
// runs the command's program. Plain JavaScript without dependencies: it must run on any Node from version 18.
import { commands } from './commands.mjs';
import { installBrowser } from './browser.mjs';
import { buildDashboard } from './dashboard.mjs';
import { installPackages, prepareWorkspace } from './prepare.mjs';
import { runProgram } from './run-program.mjs';
import { SetupProblem } from './toolchain.mjs';

const [name, ...args] = process.argv.slice(2);

try {
  const command = commands[name];
  if (!command)
    throw new SetupProblem(`Unknown command "${name ?? ''}"; known commands: ${Object.keys(commands).join(', ')}.`);
  const environment = await prepareWorkspace();
  if (command.packages) await installPackages(command.packages);
  if (command.dashboard) await buildDashboard();
  if (command.browser) await installBrowser();
  process.exitCode = await runProgram(command.program, [...command.args, ...args], {
    ...environment.env,
    ...command.env,
  });
} catch (error) {
  if (!(error instanceof SetupProblem)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
