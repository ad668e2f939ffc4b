#!/usr/bin/env node
// `npx fleetwire …`: the command line, on any Node from version 18.
import { prepareWorkspace } from './prepare.mjs';
import { runProgram } from './run-program.mjs';
import { SetupProblem } from './toolchain.mjs';

try {
  const { env } = await prepareWorkspace();
  process.exitCode = await runProgram('cli/src/main.ts', process.argv.slice(2), env);
} catch (error) {
  if (!(error instanceof SetupProblem)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
