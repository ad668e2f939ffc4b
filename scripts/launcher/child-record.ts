import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from '@fleetwire/platform/servers/process-identity';
import { terminal } from './terminal.ts';
import { Unlaunchable } from './unlaunchable.ts';

interface Entry {
  name: string;
  pid: number;
  identity: string;
}

/** The processes of this launcher, written down so that the next one can stop them if this one is killed. */
export interface ChildRecord {
  add(name: string, pid: number): void;
  remove(pid: number): void;
}

const orphanDeadlineMs = 10_000;

/**
 * Stops what a killed launcher left running on this data folder: processes that are provably the recorded ones, and no others.
 * @throws Unlaunchable when the recorded launcher lives
 */
export async function openChildRecord(dataDir: string): Promise<ChildRecord> {
  const file = join(dataDir, 'processes.json');
  const before = read(file);
  if (before.some((entry) => entry.name === 'launcher' && runs(entry))) {
    const { pid } = before.find(({ name }) => name === 'launcher')!;
    throw new Unlaunchable(
      `Fleetwire already runs on ${dataDir} (process ${pid}); stop it, or choose another folder with --data DIR.`,
    );
  }
  for (const orphan of before.filter(runs)) {
    await stopOrphan(orphan);
    terminal.print(`start: stopped ${orphan.name} (process ${orphan.pid}), which a killed launcher had left behind`);
  }

  let entries: Entry[] = [];
  const change = (next: Entry[]) => {
    entries = next;
    writeFileSync(`${file}.new`, JSON.stringify(entries));
    renameSync(`${file}.new`, file);
  };
  const record: ChildRecord = {
    add(name, pid) {
      const identity = processIdentity(pid);
      if (identity !== undefined) change([...entries, { name, pid, identity }]);
    },
    remove: (pid) => change(entries.filter((entry) => entry.pid !== pid)),
  };
  record.add('launcher', process.pid);
  return record;
}

function runs({ pid, identity }: Entry): boolean {
  return processIdentity(pid) === identity;
}

async function stopOrphan(orphan: Entry): Promise<void> {
  process.kill(orphan.pid, 'SIGTERM');
  for (const deadline = Date.now() + orphanDeadlineMs; runs(orphan) && Date.now() < deadline;) await sleep(50);
  if (runs(orphan)) process.kill(orphan.pid, 'SIGKILL');
}

function read(file: string): Entry[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Entry[];
  } catch {
    return [];
  }
}
