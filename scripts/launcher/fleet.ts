import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lastLines, startProgram } from '@fleetwire/platform/processes/program';
import type { ProcessRecord } from '@fleetwire/platform/processes/service-process';
import { repositoryRoot } from './command.ts';
import { terminal } from './terminal.ts';

const stopDeadlineMs = 10_000;
const devices = 20;
const logLines = 12;

export interface Fleet {
  readonly description: string;
  stop(forced: AbortSignal): Promise<void>;
}

interface FleetOptions {
  /** Where its devices connect. */
  readonly url: string;
  /** Replayed as devices; simulated devices without it. */
  readonly csv: readonly string[] | undefined;
  /** Undefined in open mode. */
  readonly keyFile: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly record: ProcessRecord;
}

/** The installation runs without the fleet too: when the fleet exits, that is reported and nothing else happens. */
export function startFleet({ url, csv, keyFile, env, logFile, record }: FleetOptions): Fleet {
  const load = csv ? ['--csv', ...csv] : ['--devices', String(devices), '--rate', '1'];
  const access = keyFile === undefined ? [] : ['--keys', keyFile];
  writeFileSync(logFile, '');
  const program = startProgram({
    name: 'simulator',
    command: process.execPath,
    args: [join(repositoryRoot, 'lab/fleet/main.ts'), '--url', url, ...access, ...load, '--settle-timeout', '5s'],
    env,
    logFile,
    ownSession: true,
  });
  record.rememberProcess(program);
  let stopping = false;
  void program.exited.then(({ code }) => {
    record.forgetProcess(program);
    if (stopping) return;
    const how = code === 0 ? 'has finished' : `failed (exit code ${code})`;
    terminal.print(`The fleet ${how}; the end of ${logFile}:\n${lastLines(logFile, logLines)}`);
  });
  return {
    description: csv ? `replays ${csv.join(', ')}` : `${devices} simulated devices, one reading a second each`,
    async stop(forced) {
      stopping = true;
      await program.stop(['SIGTERM', 'SIGKILL'], stopDeadlineMs, forced);
    },
  };
}
