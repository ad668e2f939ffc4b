import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { brokenLinks } from '../links.ts';

const files: Record<string, string> = {
  'docs/guide.md': '# A guide\n## Terms, and `code`\n',
  'docs/images': '',
  'README.md': '',
};

function brokenLinksOf(text: string): string[] {
  return brokenLinks('docs/page.md', (path) => (path === 'docs/page.md' ? text : files[path]));
}

it.each([
  ['a file in the same folder', '[guide](guide.md)'],
  ['a file in the folder above', '[readme](../README.md)'],
  ['a folder', '[images](images)'],
  ['a heading', '[terms](guide.md#terms-and-code)'],
  ['another site', '[site](https://example.org/nowhere.md)'],
  ['nothing, inside code', '`[a](nowhere.md)` and\n```\n[b](nowhere.md)\n```\n'],
])('accepts a link to %s', (_what, text) => {
  expect(brokenLinksOf(text)).toEqual([]);
});

it.each([
  ['a missing file', '[guide](guides.md)', 'docs/page.md: guides.md leads nowhere'],
  ['a missing heading', '[terms](guide.md#words)', 'docs/page.md: guide.md#words names a heading that docs/guide.md'],
  ['a missing heading of the same page', '# Title\n[title](#titles)', '#titles names a heading'],
])('reports a link to %s', (_what, text, finding) => {
  expect(brokenLinksOf(text)).toEqual([expect.stringContaining(finding)]);
});

it('names the readers of every page of docs/ for the site of the documents', () => {
  const root = join(import.meta.dirname, '../..');
  const named = readFileSync(join(root, 'docs/site/.vitepress/pages.ts'), 'utf8');
  const pages = globSync('docs/{*,configuration/*,performance/*}.md', { cwd: root });
  expect(pages.filter((path) => !named.includes(`'${path}'`))).toEqual([]);
});
