import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processIdentity } from '../processes/process-identity.ts';
import { StartError } from '../processes/program.ts';
import type { ProcessRecord } from '../processes/service-process.ts';
import { type RecordedProcess, stopOrphan } from './server-process.ts';

export type Kind = 'native' | 'containers';
type ServiceName = 'rabbitmq' | 'postgres';
type PortName = 'amqp' | 'management' | 'distribution' | 'epmd' | 'postgres';

/** What the next run needs to find the data and open it. */
interface Remembered {
  id: string;
  user: string;
  password: string;
  erlangCookie: string;
  kinds: Partial<Record<ServiceName, Kind>>;
  ports: Partial<Record<PortName, number>>;
  /** In the order in which they were started. */
  processes: RecordedProcess[];
}

export interface DataDirectory extends ProcessRecord {
  readonly path: string;
  /** It is removed after this run. */
  readonly temporary: boolean;
  readonly remembered: Readonly<Remembered>;
  remember(changes: Partial<Remembered>): void;
  /** Makes the folder available to another run. */
  release(): void;
}

/**
 * Takes a data folder for this process alone. Processes that an earlier, killed run left behind are stopped first, the last one started first:
 * by the ids recorded in the folder, and only where the process is provably the recorded one.
 * @throws StartError when another running process holds the folder
 */
export async function openDataDirectory(
  folder: string,
  temporary: boolean,
  log: (line: string) => void,
): Promise<DataDirectory> {
  const path = resolve(folder);
  mkdirSync(path, { recursive: true });
  const ownerFile = join(path, 'owner.json');
  takeOwnership(ownerFile, path);

  const stateFile = join(path, 'backing-services.json');
  let remembered = existsSync(stateFile) ? (JSON.parse(readFileSync(stateFile, 'utf8')) as Remembered) : newState();
  const directory: DataDirectory = {
    path,
    temporary,
    get remembered() {
      return remembered;
    },
    remember(changes) {
      remembered = { ...remembered, ...changes };
      replaceFile(stateFile, JSON.stringify(remembered, undefined, 2));
    },
    rememberProcess({ name, pid }) {
      const identity = processIdentity(pid);
      if (identity) directory.remember({ processes: [...remembered.processes, { name, pid, identity }] });
    },
    forgetProcess({ pid }) {
      directory.remember({ processes: remembered.processes.filter((process) => process.pid !== pid) });
    },
    release() {
      rmSync(ownerFile, { force: true });
    },
  };

  for (const orphan of remembered.processes.toReversed()) {
    if (await stopOrphan(orphan)) log(`stopped ${orphan.name} (process ${orphan.pid}) which a killed run left behind`);
  }
  directory.remember({ processes: [] });
  return directory;
}

/** The process that holds the folder, if it still runs. */
export function livingOwner(path: string): number | undefined {
  const ownerFile = join(path, 'owner.json');
  try {
    const owner = JSON.parse(readFileSync(ownerFile, 'utf8')) as { pid: number; identity: string };
    return processIdentity(owner.pid) === owner.identity ? owner.pid : undefined;
  } catch {
    return undefined;
  }
}

function takeOwnership(ownerFile: string, path: string) {
  const owner = JSON.stringify({ pid: process.pid, identity: processIdentity(process.pid) });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      return writeFileSync(ownerFile, owner, { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const pid = livingOwner(path);
      if (pid)
        throw new StartError(
          `The data folder ${path} is in use by process ${pid}: stop that one, or choose another folder with --data DIR.`,
        );
      rmSync(ownerFile, { force: true });
    }
  }
  throw new StartError(`The data folder ${path} was taken by another run a moment ago.`);
}

function newState(): Remembered {
  return {
    id: randomBytes(6).toString('hex'),
    user: 'fleetwire',
    password: randomBytes(18).toString('hex'),
    erlangCookie: randomBytes(18).toString('hex'),
    kinds: {},
    ports: {},
    processes: [],
  };
}

function replaceFile(file: string, content: string) {
  writeFileSync(`${file}.new`, content, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
