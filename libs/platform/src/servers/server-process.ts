import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from '../processes/process-identity.ts';
import { describeExit, lastLines, startProgram } from '../processes/program.ts';

export type ServerName = 'epmd' | 'rabbitmq' | 'postgres' | 'nginx';

export interface ServerProcess {
  readonly name: ServerName;
  readonly pid: number;
  /** Resolves with a sentence when the process has exited. Never rejects. */
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
  /** Its data is thrown away, so it need not write anything before it exits. */
  disposable: boolean;
}

/** What asks each server to stop, politely first; each signal gets `stopDeadlineMs` before the next. */
const stopSignals: Record<ServerName, NodeJS.Signals[]> = {
  epmd: ['SIGTERM', 'SIGKILL'],
  rabbitmq: ['SIGTERM', 'SIGKILL'],
  // Fast shutdown, then immediate shutdown. SIGTERM would wait for every client to leave.
  postgres: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
  // Fast shutdown. SIGQUIT would wait for every socket to close; the services behind it have closed theirs.
  nginx: ['SIGTERM', 'SIGKILL'],
};
/** The same where no data is kept. An immediate shutdown still releases Postgres' shared memory. */
const discardSignals: Record<ServerName, NodeJS.Signals[]> = {
  epmd: ['SIGKILL'],
  rabbitmq: ['SIGKILL'],
  postgres: ['SIGQUIT', 'SIGKILL'],
  // Its workers would outlive a killed master.
  nginx: ['SIGTERM', 'SIGKILL'],
};
/** For a service or another program of ours. */
const programSignals: NodeJS.Signals[] = ['SIGTERM', 'SIGKILL'];
const stopDeadlineMs = 20_000;
const exitPollMs = 25;

export function startServer({ disposable, ...command }: ServerCommand): ServerProcess {
  const { name } = command;
  const program = startProgram({ ...command, ownSession: true });
  return {
    name,
    pid: program.pid,
    exited: program.exited.then((exit) => `${name} exited (${describeExit(exit)})`),
    stop: async () => void (await program.stop((disposable ? discardSignals : stopSignals)[name], stopDeadlineMs)),
  };
}

export interface RecordedProcess {
  readonly name: string;
  readonly pid: number;
  /** See {@link processIdentity}. */
  readonly identity: string;
}

/** Stops a process that an earlier run started and did not stop. @returns false where another process has its id by now, or none */
export async function stopOrphan(orphan: RecordedProcess): Promise<boolean> {
  const runs = () => processIdentity(orphan.pid) === orphan.identity;
  if (!runs()) return false;
  const signals = orphan.name in stopSignals ? stopSignals[orphan.name as ServerName] : programSignals;
  for (const signal of signals) {
    if (runs()) process.kill(orphan.pid, signal);
    for (const deadline = Date.now() + stopDeadlineMs; runs() && Date.now() < deadline;) await sleep(exitPollMs);
    if (!runs()) break;
  }
  return true;
}

/** Polls until ready() holds. @throws with the end of the log when the server exits, or at the deadline */
export async function untilReady(
  server: ServerProcess,
  logFile: string,
  deadlineMs: number,
  ready: () => Promise<boolean> | boolean,
) {
  let exit: string | undefined;
  void server.exited.then((sentence) => (exit = sentence));
  for (const deadline = Date.now() + deadlineMs; !(await ready()); await sleep(50)) {
    if (exit) throw new Error(`${exit} while it was starting; the end of ${logFile}:\n${lastLines(logFile)}`);
    if (Date.now() > deadline)
      throw new Error(
        `${server.name} was not ready after ${deadlineMs} ms; the end of ${logFile}:\n${lastLines(logFile)}`,
      );
  }
}
