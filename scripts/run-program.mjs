import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { nodeBinary, root } from './prepare.mjs';

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs a file of the repository with the prepared Node, in the foreground, and gives its exit code (128 + n after signal n).
 * Signals are passed on. Ctrl-C reaches the program from the terminal anyway, and would count as a second one from us.
 */
export function runProgram(program, args, env) {
  const child = spawn(nodeBinary(), [join(root, program), ...args], { cwd: process.cwd(), env, stdio: 'inherit' });
  for (const signal of passedOn) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal ? 128 + constants.signals[signal] : code));
  });
}
