import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Why something cannot be started here, as a sentence for the operator: what is missing, and what would help. */
export class StartError extends Error {
  override name = 'StartError';
}

export interface ProgramOptions {
  /** Names it in messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Its output is appended here. A file and not a pipe: it may outlive this process, and a broken pipe would end it. */
  readonly logFile: string;
  /** Starts a session of its own: Ctrl-C at the terminal then reaches this process alone, which stops its programs in order. */
  readonly ownSession?: boolean;
  /** Kills it when this process exits without having stopped it. */
  readonly killAtExit?: boolean;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running process. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  /** Never rejects. */
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /**
   * Sends the signals one after the other, each when the process has not exited by the deadline of the one before.
   * @param forced skips to the next signal when it aborts
   */
  stop(signals: readonly NodeJS.Signals[], deadlineMs: number, forced?: AbortSignal): Promise<Exit>;
}

/** @throws when the command cannot be executed */
export function startProgram(options: ProgramOptions): Program {
  const { name, command, args, env, cwd, logFile, ownSession = false, killAtExit = false } = options;
  const log = openSync(logFile, 'a');
  let child: ChildProcess;
  try {
    child = spawn(command, args, { env, cwd, detached: ownSession, stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
  // Without a listener, a failed spawn would end this process; it is reported below.
  child.on('error', () => {});
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} was not started: ${command} cannot be executed`);
  const exited = once(child, 'exit').then(([code, signal]): Exit => ({ code, signal }));
  const program: Program = {
    name,
    pid,
    exited,
    kill: (signal) => void child.kill(signal),
    async stop(signals, deadlineMs, forced) {
      for (const signal of signals) {
        child.kill(signal);
        if (await settlesWithin(exited, deadlineMs, forced)) break;
      }
      return exited;
    },
  };
  if (killAtExit) rememberToKill(program);
  return program;
}

export function describeExit({ code, signal }: Exit): string {
  return signal ?? `exit code ${code}`;
}

const tailBytesMax = 65_536;

/** The end of a log file, indented. */
export function lastLines(logFile: string, count = 8): string {
  const lines = readTail(logFile, tailBytesMax).trimEnd().split('\n').slice(-count);
  return lines.map((line) => `    ${line}`).join('\n');
}

/** At most this much of the end of a file. */
export function readTail(file: string, bytesMax: number): string {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const tail = Buffer.alloc(Math.min(size, bytesMax));
    const bytesRead = readSync(descriptor, tail, 0, tail.length, size - tail.length);
    return tail.toString('utf8', 0, bytesRead);
  } finally {
    closeSync(descriptor);
  }
}

async function settlesWithin(promise: Promise<unknown>, timeoutMs: number, forced?: AbortSignal): Promise<boolean> {
  const settled = new AbortController();
  const signal = AbortSignal.any([settled.signal, ...(forced === undefined ? [] : [forced])]);
  const deadline = sleep(timeoutMs, false, { signal }).catch(() => false);
  const isSettled = await Promise.race([promise.then(() => true), deadline]);
  settled.abort();
  return isSettled;
}

const running = new Set<Program>();

function rememberToKill(program: Program): void {
  if (running.size === 0) process.on('exit', killRunning);
  running.add(program);
  void program.exited.then(() => {
    running.delete(program);
    if (running.size === 0) process.off('exit', killRunning);
  });
}

function killRunning(): void {
  for (const program of running) program.kill('SIGKILL');
}
