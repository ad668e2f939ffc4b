import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProgramSpec {
  name: string;
  /** A TypeScript file, absolute. */
  file: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  logFile: string;
}

export interface Program {
  readonly pid: number;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
}

/** In a session of its own, so that Ctrl-C at the terminal reaches us alone, and we stop things in their order. */
export async function startProgram({ file, args, env, logFile }: ProgramSpec): Promise<Program> {
  const log = openSync(logFile, 'a');
  try {
    const child = spawn(process.execPath, [file, ...args], { env, detached: true, stdio: ['ignore', log, log] });
    const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
    await once(child, 'spawn');
    return { pid: child.pid!, exited, kill: (signal) => void child.kill(signal) };
  } finally {
    closeSync(log);
  }
}

/** SIGTERM, and SIGKILL at the deadline or when the stop is forced. */
export async function stopProgram(program: Program, deadlineMs: number, forced: AbortSignal): Promise<void> {
  program.kill('SIGTERM');
  const settled = new AbortController();
  const impatience = sleep(deadlineMs, undefined, { signal: AbortSignal.any([forced, settled.signal]) }).catch(
    () => {},
  );
  await Promise.race([program.exited, impatience]);
  settled.abort();
  program.kill('SIGKILL');
  await program.exited;
}

export function lastLines(logFile: string, count = 8): string {
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-count);
  return lines.map((line) => `    ${line}`).join('\n');
}
