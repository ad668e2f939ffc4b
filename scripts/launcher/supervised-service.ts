import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChildRecord } from './child-record.ts';
import { type Program, type ProgramSpec, lastLines, startProgram, stopProgram } from './program.ts';
import { countRestart, restartDelayMs, restartsMax } from './restart-policy.ts';
import { terminal } from './terminal.ts';
import { Unlaunchable } from './unlaunchable.ts';

const readyDeadlineMs = 60_000;
const readyPollMs = 50;
/** Above the services' own drain deadline, which is 25 s. */
const stopDeadlineMs = 30_000;

export interface SupervisedService {
  /** Settles, with a sentence, once the service has ended more often than it is restarted. */
  readonly failed: Promise<string>;
  stop(forced: AbortSignal): Promise<void>;
}

/**
 * Starts a service as a process of its own, waits until it is ready, and starts it again when it dies, with growing delays.
 * @throws Unlaunchable, with the end of its log, when it does not become ready
 */
export async function superviseService(
  spec: ProgramSpec & { readyUrl: string },
  record: ChildRecord,
  interrupted: AbortSignal,
): Promise<SupervisedService> {
  const { name, logFile, readyUrl } = spec;
  writeFileSync(logFile, '');
  const stopping = new AbortController();
  const start = async (): Promise<{ program: Program; startedAt: number }> => {
    const program = await startProgram(spec);
    record.add(name, program.pid);
    return { program, startedAt: Date.now() };
  };

  let current = await start();
  try {
    await untilReady(spec, current.program, AbortSignal.any([interrupted, AbortSignal.timeout(readyDeadlineMs)]));
  } catch (error) {
    await stopProgram(current.program, stopDeadlineMs, AbortSignal.abort());
    record.remove(current.program.pid);
    throw error;
  }

  const supervise = async (): Promise<string> => {
    for (let restarts = 0; ;) {
      const { code, signal } = await current.program.exited;
      record.remove(current.program.pid);
      if (stopping.signal.aborted) return new Promise(() => {});
      restarts = countRestart(restarts, Date.now() - current.startedAt);
      const ending = `${name} ended by itself (${signal ?? `exit code ${code}`})`;
      if (restarts > restartsMax) return `${ending} after ${restartsMax} restarts; its log is ${logFile}`;
      terminal.print(`${ending}; the end of ${logFile}:\n${lastLines(logFile)}`);
      terminal.print(`Starting ${name} again in ${restartDelayMs(restarts)} ms.`);
      await sleep(restartDelayMs(restarts), undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return new Promise(() => {});
      current = await start();
    }
  };
  const failed = supervise();

  return {
    failed,
    async stop(forced) {
      stopping.abort();
      await stopProgram(current.program, stopDeadlineMs, forced);
      record.remove(current.program.pid);
    },
  };

  async function untilReady(service: ProgramSpec, program: Program, givenUp: AbortSignal): Promise<void> {
    let ended = false;
    void program.exited.then(() => (ended = true));
    while (!(await answersOk(readyUrl))) {
      if (ended || givenUp.aborted) {
        const what = ended ? 'ended while starting' : 'did not become ready';
        throw new Unlaunchable(`${service.name} ${what}; the end of ${logFile}:\n${lastLines(logFile)}`);
      }
      await sleep(readyPollMs);
    }
  }
}

async function answersOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}
