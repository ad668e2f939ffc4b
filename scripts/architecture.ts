import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import { confined, developmentOnly, importsEverything, mayImport, wrapped } from './architecture-rules.ts';

interface Source {
  /** Relative to the repository, with forward slashes. */
  path: string;
  text: string;
}

/** The examples in this test break the rules on purpose. */
const ownTest = 'scripts/test/architecture.unit.test.ts';

const folders = [...Object.keys(mayImport), ...importsEverything];
const packages = folders.filter((folder) => /^(libs|services)\/|^cli$/.test(folder));

/** Finds every breach of the rules in the repository; one line each, with the file and the breach. */
export function checkArchitecture(root: string): string[] {
  const read = (pattern: string): Source[] =>
    globSync(pattern, { cwd: root, exclude: (path) => /(^|\/)node_modules$/.test(path) })
      .filter((path) => path !== ownTest)
      .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
  return [
    ...read('{libs,services,cli,lab,scripts}/**/*.{ts,mjs}').flatMap(breachesInSource),
    ...read('{libs/*,services/*,cli}/package.json').flatMap(breachesInManifest),
  ].toSorted();
}

export function breachesInSource({ path, text }: Source): string[] {
  const folder = folderOf(path);
  if (folder === undefined)
    return [`${path}: has no entry in the architecture rules; add its folder with what it may import`];
  if (importsEverything.includes(folder)) return [];
  const isTest = path.startsWith(`${folder}/test/`);
  const permitted = [folder, ...mayImport[folder]!, ...(isTest ? developmentOnly : [])];
  const breaches: string[] = [];

  for (const specifier of importedBy(text)) {
    const name = /^@fleetwire\/([^/]+)/.exec(specifier)?.[1];
    if (name !== undefined) {
      const target = packages.find((candidate) => candidate.split('/').at(-1) === name) ?? name;
      if (!permitted.includes(target)) breaches.push(`${folder} must not import ${target}`);
      if (/^@fleetwire\/[^/]+\/(src|test)\//.test(specifier))
        breaches.push(`${specifier} is not exported by the package; import one of its exports`);
    }
    if (specifier.startsWith('.')) {
      const target = folderOf(normalize(join(dirname(path), specifier)));
      if (target !== folder && (target === undefined || packages.includes(target) || packages.includes(folder)))
        breaches.push(`${specifier} leaves the package; import @fleetwire/… instead`);
      else if (!permitted.includes(target)) breaches.push(`${folder} must not import ${target}`);
    }
    const wrappers = wrapped[specifier.split('/')[0]!];
    if (wrappers && !isTest && !wrappers.includes(folder))
      breaches.push(`only ${wrappers.join(', ')} may import ${specifier}`);
  }
  for (const { what, pattern, allowed: places, instead } of confined) {
    if (!isTest && pattern.test(text) && !places.test(path)) breaches.push(`${what} is not allowed here; ${instead}`);
  }
  return breaches.map((breach) => `${path}: ${breach}`);
}

export function breachesInManifest({ path, text }: Source): string[] {
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
  const names = developmentOnly.map((folder) => folder.split('/').at(-1)!);
  const misplaced = names.filter((name) => `@fleetwire/${name}` in dependencies);
  return misplaced.map((name) => `${path}: ${name} may be a development dependency only`);
}

/** The innermost folder of the rules that holds the file. */
function folderOf(path: string): string | undefined {
  return folders.filter((folder) => path.startsWith(`${folder}/`)).toSorted((a, b) => b.length - a.length)[0];
}

/** Module specifiers of static and dynamic imports and of re-exports. */
function importedBy(text: string): string[] {
  const statements =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(statements)].map((match) => match[1] ?? match[2] ?? match[3]!);
}
