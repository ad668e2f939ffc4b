import { spawn } from 'node:child_process';
import { SetupProblem } from './toolchain.mjs';

/** Runs a program without showing its output; prints the title and the duration to standard error, so that standard output stays the command's own. */
export async function runStep(title, command, args, options, explainFailure) {
  const startedAt = Date.now();
  process.stderr.write(`setup: ${title} ... `);
  const { code, output } = await collect(command, args, options);
  process.stderr.write(`${seconds(Date.now() - startedAt)}\n`);
  if (code !== 0) throw new SetupProblem(explainFailure(title, output));
}

/** @returns {string} such as `0.4 s` */
function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function collect(command, args, options) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const add = (chunk) => {
      output += chunk;
    };
    child.stdout.on('data', add);
    child.stderr.on('data', add);
    child.on('error', (error) => resolve({ code: 1, output: `${output}${error.message}` }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
