// The way in: `npm start`, `npm test` and the rest. It brings what the repository needs (Node, pnpm, packages) and then runs the
// command's real program with it. Plain JavaScript without dependencies: it must run on the Node that the machine happens to have.
import { commands } from './commands.mjs';
import { SetupProblem } from './problem.mjs';
import { installPackages, prepareWorkspace } from './prepare.mjs';
import { runProgram } from './run-program.mjs';

const [name, ...args] = process.argv.slice(2);

try {
  const command = commands[name];
  if (!command)
    throw new SetupProblem(`Unknown command "${name ?? ''}"; there are: ${Object.keys(commands).join(', ')}.`);
  const environment = await prepareWorkspace();
  if (command.packages) await installPackages(command.packages);
  process.exitCode = await runProgram(command.program, [...command.args, ...args], {
    ...environment.env,
    ...command.env,
  });
} catch (error) {
  if (!(error instanceof SetupProblem)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
