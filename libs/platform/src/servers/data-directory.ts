import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processIdentity } from './process-identity.ts';
import { type ServerName, type ServerProcess, stopOrphan } from './server-process.ts';
import { BackingServiceUnavailable } from './unavailable.ts';

export type Kind = 'native' | 'containers';
type ServiceName = 'rabbitmq' | 'postgres';
type PortName = 'amqp' | 'management' | 'distribution' | 'epmd' | 'postgres';

/** What must be the same the next time for the data to be found and opened again. */
interface Remembered {
  id: string;
  user: string;
  password: string;
  erlangCookie: string;
  kinds: Partial<Record<ServiceName, Kind>>;
  ports: Partial<Record<PortName, number>>;
  processes: { name: ServerName; pid: number; identity: string }[];
}

export interface DataDirectory {
  readonly path: string;
  /** Nothing in it outlives this run. */
  readonly temporary: boolean;
  readonly remembered: Readonly<Remembered>;
  remember(changes: Partial<Remembered>): void;
  rememberProcess(server: ServerProcess): void;
  forgetProcess(server: ServerProcess): void;
  /** Lets the next run have the folder. */
  release(): void;
}

/**
 * Takes a data folder for this process alone. Servers that an earlier, killed run left behind in it are stopped first,
 * by the process ids recorded there, and only where the process is provably the recorded one.
 * @throws BackingServiceUnavailable when a living process holds the folder
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

  for (const orphan of remembered.processes) {
    if (await stopOrphan(orphan))
      log(`stopped ${orphan.name} (process ${orphan.pid}) which a killed run had left behind`);
  }
  directory.remember({ processes: [] });
  return directory;
}

/** The process that holds the folder, if it lives. */
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
        throw new BackingServiceUnavailable(
          `The data folder ${path} is in use by process ${pid}; stop that one, or choose another folder.`,
        );
      rmSync(ownerFile, { force: true });
    }
  }
  throw new BackingServiceUnavailable(`The data folder ${path} has just been taken by another run.`);
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
