import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import {
  confined,
  developmentOnly,
  forbidden,
  importsEverything,
  mayImport,
  shippedByRoot,
  wrapped,
} from './architecture-rules.ts';

interface Source {
  /** Relative to the repository, with forward slashes. */
  path: string;
  text: string;
}

/** The examples in this test break the rules on purpose. */
const ownTest = 'scripts/test/architecture.unit.test.ts';

const folders = [...Object.keys(mayImport), ...importsEverything];
const packages = folders.filter((folder) => /^(libs|services|apps)\/|^cli$/.test(folder));

/** Finds every breach of the rules in the repository; one line each, with the file and the breach. */
export function checkArchitecture(root: string): string[] {
  const read = (pattern: string): Source[] =>
    globSync(pattern, { cwd: root, exclude: (path) => /(^|\/)node_modules$/.test(path) })
      .filter((path) => path !== ownTest)
      .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
  const sources = read('{libs,services,apps,cli,lab,scripts}/**/*.{ts,tsx,mjs}');
  const manifests = read('{libs/*/,services/*/,apps/*/,cli/,}package.json');
  return [
    ...sources.flatMap(breachesInSource),
    ...manifests.flatMap(breachesInManifest),
    ...manifests.flatMap((manifest) => undeclaredImports(manifest, sources)),
  ].toSorted();
}

export function breachesInSource({ path, text }: Source): string[] {
  const folder = folderOf(path);
  if (folder === undefined)
    return [`${path}: has no entry in the architecture rules; add its folder with what it may import`];
  if (importsEverything.includes(folder)) return [];
  const isTest = path.startsWith(`${folder}/test/`);
  const permitted = [folder, ...mayImport[folder]!, ...(isTest ? developmentOnly : [])];
  const ban = isTest ? undefined : forbidden[folder];
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
    if (ban?.specifiers.test(specifier)) breaches.push(`${folder} must not import ${specifier}; ${ban.why}`);
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
  const dependencies = dependenciesOf(text);
  const names = developmentOnly.map((folder) => folder.split('/').at(-1)!);
  const misplaced = names.filter((name) => `@fleetwire/${name}` in dependencies);
  return misplaced.map((name) => `${path}: ${name} may be a development dependency only`);
}

/** Imports that an installation without development dependencies, such as the image, lacks. */
export function undeclaredImports(manifest: Source, sources: readonly Source[]): string[] {
  const root = manifest.path === 'package.json';
  const shipped = root ? shippedByRoot.map((folder) => `${folder}/`) : [`${dirname(manifest.path)}/src/`];
  const tests = shipped.map((folder) => `${folder}test/`);
  const within = (path: string, places: readonly string[]) => places.some((place) => path.startsWith(place));
  const dependencies = dependenciesOf(manifest.text);
  return sources
    .filter(({ path }) => within(path, shipped) && !within(path, tests))
    .flatMap(({ path, text }) =>
      importedBy(text)
        .filter((specifier) => !/^(\.|node:)/.test(specifier))
        .map((specifier) => /^(@[^/]+\/)?[^/]+/.exec(specifier)![0])
        .filter((name) => !(name in dependencies))
        .map((name) => `${path}: ${name} is not among the dependencies of ${manifest.path}`),
    );
}

function dependenciesOf(manifest: string): Record<string, string> {
  return (JSON.parse(manifest) as { dependencies?: Record<string, string> }).dependencies ?? {};
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
