import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import { confined, developmentOnly, importsEverything, mayImport, wrapped } from './architecture-rules.ts';

interface Source {
  /** Relative to the repository, with forward slashes. */
  path: string;
  text: string;
}

/** Its examples breach the rules on purpose. */
const ownTest = 'tools/setup/test/architecture.unit.test.ts';

/** Every breach of the rules in the repository, one line each: where, and what. Empty if there is none. */
export function checkArchitecture(root: string): string[] {
  const read = (pattern: string): Source[] =>
    globSync(pattern, { cwd: root, exclude: (path) => /(^|\/)node_modules$/.test(path) })
      .filter((path) => path !== ownTest)
      .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
  return [
    ...read('{libs,services,tools,e2e}/**/*.{ts,mjs}').flatMap(breachesInSource),
    ...read('{libs,services,tools}/*/package.json').flatMap(breachesInManifest),
  ].toSorted();
}

export function breachesInSource({ path, text }: Source): string[] {
  const owner = ownerOf(path);
  if (importsEverything.includes(owner)) return [];
  const allowed = mayImport[owner];
  if (!allowed) return [`${path}: ${owner} is not in the architecture rules; add it and say what it may import`];
  const isTest = path.startsWith(`${owner}/test/`);
  const breaches: string[] = [];

  for (const specifier of importedBy(text)) {
    const ours = /^@fleetwire\/([^/]+)/.exec(specifier)?.[1];
    const permitted = isTest ? [...allowed, ...developmentOnly] : allowed;
    if (ours && !permitted.includes(ours)) breaches.push(`${owner} must not import ${ours}`);
    if (/^@fleetwire\/[^/]+\/(src|test)\//.test(specifier))
      breaches.push(`${specifier} reaches into another package; import what it exports`);
    if (specifier.startsWith('.') && !normalize(join(dirname(path), specifier)).startsWith(`${owner}/`)) {
      breaches.push(`${specifier} leaves the package; import @fleetwire/… instead`);
    }
    const wrappers = wrapped[specifier.split('/')[0]!];
    if (wrappers && !isTest && !wrappers.includes(owner)) breaches.push(`${specifier} belongs to ${wrappers[0]}`);
  }
  for (const { what, pattern, allowed: places, instead } of confined) {
    if (!isTest && pattern.test(text) && !places.test(path)) breaches.push(`${what} does not belong here; ${instead}`);
  }
  return breaches.map((breach) => `${path}: ${breach}`);
}

export function breachesInManifest({ path, text }: Source): string[] {
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
  const misplaced = developmentOnly.filter((name) => `@fleetwire/${name}` in dependencies);
  return misplaced.map((name) => `${path}: ${name} may be a development dependency only`);
}

/** The package's folder: two levels down, or one for the end-to-end tests. */
function ownerOf(path: string): string {
  const [area, name] = path.split('/');
  return area === 'e2e' ? 'e2e' : `${area}/${name}`;
}

/** Module specifiers of static and dynamic imports and of re-exports. */
function importedBy(text: string): string[] {
  const statements =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(statements)].map((match) => match[1] ?? match[2] ?? match[3]!);
}
