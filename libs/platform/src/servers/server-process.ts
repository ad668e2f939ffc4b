import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from './process-identity.ts';

export type ServerName = 'epmd' | 'rabbitmq' | 'postgres';

export interface ServerProcess {
  readonly name: ServerName;
  readonly pid: number;
  /** Settles when the process is gone, with a sentence on how it ended. Never rejects. */
  readonly exited: Promise<string>;
  stop(): Promise<void>;
}

export interface ServerCommand {
  name: ServerName;
  command: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
  logFile: string;
  /** Its data is thrown away anyway, so it need not write anything down before it ends. */
  disposable: boolean;
}

/** What each server takes as a polite, a firm and a final request to end, and how long it gets before the next. */
const stopSignals: Record<ServerName, NodeJS.Signals[]> = {
  epmd: ['SIGTERM', 'SIGKILL'],
  rabbitmq: ['SIGTERM', 'SIGKILL'],
  // Fast shutdown, then immediate shutdown. SIGTERM would wait for every client to leave.
  postgres: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
};
/** The same where nothing is to be kept. An immediate shutdown still gives Postgres' shared memory back. */
const discardSignals: Record<ServerName, NodeJS.Signals[]> = {
  epmd: ['SIGKILL'],
  rabbitmq: ['SIGKILL'],
  postgres: ['SIGQUIT', 'SIGKILL'],
};
const stopDeadlineMs = 20_000;
const exitPollMs = 25;

/**
 * Starts a server in a session of its own, so that Ctrl-C at the terminal reaches us alone and the order of the drain is ours.
 * It writes to a file and not to a pipe: it must outlive us without dying of SIGPIPE, to be found and stopped in order later.
 */
export async function startServer({
  name,
  command,
  args,
  env,
  cwd,
  logFile,
  disposable,
}: ServerCommand): Promise<ServerProcess> {
  const log = openSync(logFile, 'a');
  try {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', log, log] });
    const exited = once(child, 'exit').then(
      ([code, signal]) => `${name} ended with ${signal === null ? `exit code ${code}` : String(signal)}`,
      (error: unknown) => `${name} failed: ${String(error)}`,
    );
    await once(child, 'spawn');
    const pid = child.pid!;
    return {
      name,
      pid,
      exited,
      async stop() {
        for (const signal of (disposable ? discardSignals : stopSignals)[name]) {
          child.kill(signal);
          if (await settlesWithin(exited, stopDeadlineMs)) return;
        }
      },
    };
  } finally {
    closeSync(log);
  }
}

/** Stops a server that an earlier run started and could not stop, if the process with this id is still that very one. */
export async function stopOrphan(orphan: { name: ServerName; pid: number; identity: string }): Promise<boolean> {
  const runs = () => processIdentity(orphan.pid) === orphan.identity;
  if (!runs()) return false;
  for (const signal of stopSignals[orphan.name]) {
    if (runs()) process.kill(orphan.pid, signal);
    for (const deadline = Date.now() + stopDeadlineMs; runs() && Date.now() < deadline;) await sleep(exitPollMs);
    if (!runs()) break;
  }
  return true;
}

/** Polls until ready() holds. Fails as soon as the server has ended, or at the deadline, with the end of its log. */
export async function untilReady(
  server: ServerProcess,
  logFile: string,
  deadlineMs: number,
  ready: () => Promise<boolean> | boolean,
) {
  let ended: string | undefined;
  void server.exited.then((how) => (ended = how));
  for (const deadline = Date.now() + deadlineMs; !(await ready()); await sleep(50)) {
    if (ended) throw new Error(`${ended} while starting; the end of ${logFile}:\n${lastLines(logFile)}`);
    if (Date.now() > deadline)
      throw new Error(
        `${server.name} was not ready after ${deadlineMs} ms; the end of ${logFile}:\n${lastLines(logFile)}`,
      );
  }
}

function lastLines(file: string, count = 12): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
}

async function settlesWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const abort = new AbortController();
  const timeout = sleep(timeoutMs, false, { signal: abort.signal }).catch(() => false);
  const settled = await Promise.race([promise.then(() => true), timeout]);
  abort.abort();
  return settled;
}
