import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const firstViewBytesMax = 120_000;

/** Prints what each script weighs compressed, and fails a build whose first view loads more than the bound. */
export function printSizes(): Plugin {
  return {
    name: 'fleetwire-sizes',
    apply: 'build',
    writeBundle(_options, bundle) {
      const chunks = Object.values(bundle).filter((file) => file.type === 'chunk');
      const bytes = new Map(chunks.map((chunk) => [chunk.fileName, gzipSync(chunk.code).length]));
      const imports = new Map(chunks.map((chunk) => [chunk.fileName, chunk.imports]));
      const withImports = (name: string, found = new Set<string>()): Set<string> => {
        if (found.has(name)) return found;
        found.add(name);
        for (const imported of imports.get(name) ?? []) withImports(imported, found);
        return found;
      };
      const total = (names: Iterable<string>) => [...names].reduce((sum, name) => sum + (bytes.get(name) ?? 0), 0);
      const entry = chunks.filter((chunk) => chunk.isEntry).map((chunk) => chunk.fileName);
      const views = chunks.filter((chunk) => chunk.isDynamicEntry).map((chunk) => chunk.fileName);
      for (const view of views) {
        const loaded = new Set([...entry, view].flatMap((name) => [...withImports(name)]));
        const size = total(loaded);
        this.info(`${view}: ${(size / 1_000).toFixed(1)} kB of compressed script as the first view`);
        if (size > firstViewBytesMax) this.error(`${view} loads ${size} bytes; at most ${firstViewBytesMax}`);
      }
    },
  };
}
