import { writeFileSync } from 'node:fs';
import type { ChildRecord } from './child-record.ts';
import { type ProgramSpec, lastLines, startProgram, stopProgram } from './program.ts';
import { terminal } from './terminal.ts';

const stopDeadlineMs = 10_000;
const devices = 20;

export interface Fleet {
  readonly description: string;
  stop(forced: AbortSignal): Promise<void>;
}

/** What the simulator is asked to do, as its arguments and in words. */
export function fleetOf(csv: string[] | undefined): { args: string[]; description: string } {
  const settle = ['--settle-timeout', '5s'];
  return csv
    ? { args: ['--csv', ...csv, ...settle], description: `replays ${csv.join(', ')}` }
    : {
        args: ['--devices', String(devices), '--rate', '1', ...settle],
        description: `${devices} simulated devices, one reading a second each`,
      };
}

/** The simulator is company, not a part: when it ends it is reported and left alone. */
export async function startFleet(spec: ProgramSpec, description: string, record: ChildRecord): Promise<Fleet> {
  writeFileSync(spec.logFile, '');
  const program = await startProgram(spec);
  record.add(spec.name, program.pid);
  let stopping = false;
  void program.exited.then(({ code }) => {
    record.remove(program.pid);
    if (!stopping)
      terminal.print(
        `The fleet ${code === 0 ? 'has finished' : 'ended with a complaint'}; ${spec.logFile} ends with:\n${lastLines(spec.logFile, 12)}`,
      );
  });
  return {
    description,
    async stop(forced) {
      stopping = true;
      await stopProgram(program, stopDeadlineMs, forced);
    },
  };
}
