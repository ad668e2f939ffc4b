import { createHash } from 'node:crypto';
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { checkLinks, headingAnchor } from '../../../scripts/links.ts';
import { groups } from './pages.ts';
import { copyOf, linkedFiles, linkSources } from './sources.ts';

// The site of the documents: `npm run docs`. Pages keep their paths in the repository, so that their links lead to the same place here.
const base = '/guide/';
const root = fileURLToPath(new URL('../../..', import.meta.url));
const site = join(root, '.fleetwire/guide');
const home = 'docs/site/index.md';

const decisions = globSync('docs/decisions/*.md', { cwd: root }).toSorted();
const pages = [...Object.values(groups).flat(), ...decisions];
checkNavigation();
failOn(checkLinks(root));

export default defineConfig({
  title: 'Fleetwire',
  description: 'Telemetry backbone for fleets of devices',
  lang: 'en',
  base,
  srcDir: root,
  srcExclude: ['.fleetwire/**', ...unlisted()],
  rewrites: { [home]: 'index.md' },
  outDir: site,
  cacheDir: join(root, '.fleetwire/guide-cache'),
  // No script in the pages: query-api allows files of its own only.
  metaChunk: true,
  transformHtml: (html) => html.replaceAll(/<script[^>]*>([^<]+)<\/script>/g, (_, code: string) => scriptInFile(code)),
  markdown: {
    anchor: { slugify: headingAnchor },
    config: (markdown) => {
      markdown.core.ruler.push('sources', linkSources({ root, base, pages }));
    },
  },
  buildEnd: copyLinkedFiles,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/README' },
      { text: 'Architecture', link: '/ARCHITECTURE' },
      { text: 'Changes', link: '/CHANGELOG' },
      { text: 'API document', link: `${base}docs/openapi.json`, target: '_blank' },
    ],
    sidebar: [
      ...Object.entries(groups).map(([text, paths]) => ({ text, items: paths.map(entry) })),
      { text: 'Decisions', collapsed: true, items: decisions.map(entry) },
    ],
  },
});

function entry(path: string): { text: string; link: string } {
  const [, title = path] = /^# (.+)$/m.exec(readFileSync(join(root, path), 'utf8')) ?? [];
  return { text: title.replace(/:.*/, ''), link: `/${path.replace(/\.md$/, '')}` };
}

/** The Markdown files of the repository that are no pages. */
function unlisted(): string[] {
  return markdownFiles().filter((path) => path !== home && !pages.includes(path));
}

function markdownFiles(): string[] {
  return globSync('**/*.md', { cwd: root, exclude: (path) => /(^|\/)(node_modules|\.fleetwire)$/.test(path) });
}

/** A new page of docs/ must be given its readers. */
function checkNavigation(): void {
  const missing = unlisted().filter((path) => path.startsWith('docs/'));
  failOn(missing.map((path) => `${path}: no readers are named for it in docs/site/.vitepress/pages.ts`));
}

function failOn(findings: string[]): void {
  if (findings.length > 0) throw new Error(findings.join('\n'));
}

function copyLinkedFiles(): void {
  for (const path of linkedFiles) cpSync(join(root, path), join(site, copyOf(path)));
}

/** Writes a script of the page into a file, and gives the element that loads it. */
function scriptInFile(code: string): string {
  const name = `assets/inline.${createHash('sha256').update(code).digest('hex').slice(0, 8)}.js`;
  mkdirSync(join(site, 'assets'), { recursive: true });
  writeFileSync(join(site, name), code);
  return `<script src="${base}${name}"></script>`;
}
