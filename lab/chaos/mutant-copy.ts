import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Mutant, mutated } from './mutants.ts';

export const repository = fileURLToPath(new URL('../..', import.meta.url));
const listBytesMax = 16 * 1024 * 1024;

/** The repository with one mutant in it. Disposal removes it. */
export interface MutantCopy extends AsyncDisposable {
  readonly folder: string;
}

/**
 * Copies the sources as they are in the working tree. Third-party packages are links to the repository's own; packages of the workspace are
 * those of the copy.
 */
export async function copyWithMutant({ name, edits }: Mutant): Promise<MutantCopy> {
  const parent = join(repository, '.fleetwire/mutants');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, `${name}-`));
  const copy = { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  try {
    await copySources(folder);
    for (const edit of edits) {
      const file = join(folder, edit.file);
      await writeFile(file, mutated(await readFile(file, 'utf8'), edit));
    }
    return copy;
  } catch (error) {
    await copy[Symbol.asyncDispose]();
    throw error;
  }
}

async function copySources(folder: string): Promise<void> {
  const { stdout } = await promisify(execFile)(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    {
      cwd: repository,
      maxBuffer: listBytesMax,
    },
  );
  const files = stdout.split('\0').filter((file) => file !== '');
  for (const file of files)
    // A file that is deleted and not committed is still listed.
    await cp(join(repository, file), join(folder, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  const packages = new Set(files.filter((file) => file.endsWith('package.json')).map((file) => dirname(file)));
  for (const one of packages) await linkPackages(join(repository, one), join(folder, one));
}

/** The links of the workspace's packages are relative: copied, they lead to the copy's packages. */
async function linkPackages(from: string, to: string): Promise<void> {
  const present = await readdir(join(from, 'node_modules')).catch(() => []);
  if (present.length === 0) return;
  await mkdir(join(to, 'node_modules'), { recursive: true });
  for (const name of present) {
    if (caches.has(name)) continue;
    const [source, target] = [join(from, 'node_modules', name), join(to, 'node_modules', name)];
    if (name === '.pnpm') await symlink(source, target);
    else await cp(source, target, { recursive: true, verbatimSymlinks: true });
  }
}

const caches = new Set(['.cache', '.vite', '.vite-temp', '.vitest-cache', '.bin']);
