import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { nodeBinary, root } from './prepare.mjs';

const forwardedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs a file of the repository with the prepared Node, in the foreground, and returns its exit code (128 + n after signal n).
 * Signals are forwarded, except Ctrl-C at a terminal: the terminal sends it to the program itself, and a forwarded one would count as a
 * second Ctrl-C.
 */
export function runProgram(program, args, env) {
  const child = spawn(nodeBinary(), [join(root, program), ...args], { cwd: process.cwd(), env, stdio: 'inherit' });
  for (const signal of forwardedSignals) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal ? 128 + constants.signals[signal] : code));
  });
}
