import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import { confined, developmentOnly, importsEverything, mayImport, wrapped } from './architecture-rules.ts';

interface Source {
  /** Relative to the repository, with forward slashes. */
  path: string;
  text: string;
}

/** Its examples breach the rules on purpose. */
const ownTest = 'scripts/test/architecture.unit.test.ts';

const rooms = [...Object.keys(mayImport), ...importsEverything];
const packages = rooms.filter((room) => /^(libs|services)\/|^cli$/.test(room));

/** Every breach of the rules in the repository, one line each: where, and what. Empty if there is none. */
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
  const room = roomOf(path);
  if (room === undefined)
    return [`${path}: is in no room of the architecture rules; add it and say what it may import`];
  if (importsEverything.includes(room)) return [];
  const isTest = path.startsWith(`${room}/test/`);
  const permitted = [room, ...mayImport[room]!, ...(isTest ? developmentOnly : [])];
  const breaches: string[] = [];

  for (const specifier of importedBy(text)) {
    const name = /^@fleetwire\/([^/]+)/.exec(specifier)?.[1];
    if (name !== undefined) {
      const target = packages.find((candidate) => candidate.split('/').at(-1) === name) ?? name;
      if (!permitted.includes(target)) breaches.push(`${room} must not import ${target}`);
      if (/^@fleetwire\/[^/]+\/(src|test)\//.test(specifier))
        breaches.push(`${specifier} reaches into another package; import what it exports`);
    }
    if (specifier.startsWith('.')) {
      const target = roomOf(normalize(join(dirname(path), specifier)));
      if (target !== room && (target === undefined || packages.includes(target) || packages.includes(room)))
        breaches.push(`${specifier} leaves the package; import @fleetwire/… instead`);
      else if (!permitted.includes(target)) breaches.push(`${room} must not import ${target}`);
    }
    const wrappers = wrapped[specifier.split('/')[0]!];
    if (wrappers && !isTest && !wrappers.includes(room)) breaches.push(`${specifier} belongs to ${wrappers[0]}`);
  }
  for (const { what, pattern, allowed: places, instead } of confined) {
    if (!isTest && pattern.test(text) && !places.test(path)) breaches.push(`${what} does not belong here; ${instead}`);
  }
  return breaches.map((breach) => `${path}: ${breach}`);
}

export function breachesInManifest({ path, text }: Source): string[] {
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
  const names = developmentOnly.map((room) => room.split('/').at(-1)!);
  const misplaced = names.filter((name) => `@fleetwire/${name}` in dependencies);
  return misplaced.map((name) => `${path}: ${name} may be a development dependency only`);
}

/** The innermost room that holds the file. */
function roomOf(path: string): string | undefined {
  return rooms.filter((room) => path.startsWith(`${room}/`)).toSorted((a, b) => b.length - a.length)[0];
}

/** Module specifiers of static and dynamic imports and of re-exports. */
function importedBy(text: string): string[] {
  const statements =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(statements)].map((match) => match[1] ?? match[2] ?? match[3]!);
}
