import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type BackingServices, type BackingServicesOptions, startBackingServices } from './backing-services.ts';
import { containerEngineAnswers, removeLeftContainers } from './containers.ts';
import { livingOwner, openDataDirectory } from './data-directory.ts';

const prefix = 'test-';
const freshMs = 10_000;

export interface TemporaryOptions extends Pick<BackingServicesOptions, 'mode' | 'log' | 'env'> {
  /** Gets a folder for this run; those of earlier runs that were killed are removed. */
  parentDir: string;
}

/** Backing services for one test run, independent of other runs; `stop` removes everything. */
export async function startTemporaryBackingServices({
  parentDir,
  ...options
}: TemporaryOptions): Promise<BackingServices> {
  const parent = resolve(parentDir);
  mkdirSync(parent, { recursive: true });
  await clearAbandoned(parent, options.log);
  return startBackingServices({ ...options, dataDir: mkdtempSync(join(parent, prefix)), temporary: true });
}

async function clearAbandoned(parent: string, log: (line: string) => void) {
  for (const entry of readdirSync(parent, { withFileTypes: true })) {
    const folder = join(parent, entry.name);
    if (!entry.isDirectory() || !entry.name.startsWith(prefix) || livingOwner(folder) !== undefined || isFresh(folder))
      continue;
    const directory = await openDataDirectory(folder, true, log);
    const mayHaveContainers = Object.values(directory.remembered.kinds).includes('containers');
    // Without the engine its containers cannot run either. The folder names them, so it stays until the engine answers.
    if (mayHaveContainers && !(await containerEngineAnswers())) {
      directory.release();
      log(`${folder} stays: a killed run may have left containers, and no container engine answers`);
      continue;
    }
    if (mayHaveContainers) await removeLeftContainers(directory);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Another run may have created its folder a moment ago and not taken it yet. */
function isFresh(folder: string): boolean {
  return Date.now() - statSync(folder).mtimeMs < freshMs;
}
