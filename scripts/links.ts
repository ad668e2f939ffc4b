import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';

/** Finds every relative link in the Markdown files of the repository that leads nowhere; one line each. */
export function checkLinks(root: string): string[] {
  return globSync('**/*.md', { cwd: root, exclude: (path) => /(^|\/)(node_modules|\.fleetwire)$/.test(path) })
    .flatMap((path) => brokenLinks(path, (file) => readIfPresent(join(root, file))))
    .toSorted();
}

/**
 * @param path of the Markdown file, relative to the repository
 * @param read gives the text of a file, `''` for a folder, undefined where there is nothing
 */
export function brokenLinks(path: string, read: (path: string) => string | undefined): string[] {
  return linksIn(read(path) ?? '').flatMap((link) => {
    const [file = '', heading] = link.split('#');
    const target = file === '' ? path : join(dirname(path), decodeURI(file));
    const text = read(target);
    if (text === undefined) return [`${path}: ${link} leads nowhere`];
    if (heading === undefined || !target.endsWith('.md')) return [];
    return headingsIn(text).includes(heading) ? [] : [`${path}: ${link} names a heading that ${target} does not have`];
  });
}

/** Targets of `[text](target)`, without code and without links to other sites. */
function linksIn(markdown: string): string[] {
  const text = withoutFences(markdown).replaceAll(/`[^`\n]*`/g, '');
  const targets = [...text.matchAll(/\]\(([^)\s]+)[^)]*\)/g)].map(([, target]) => target!);
  return targets.filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));
}

function headingsIn(markdown: string): string[] {
  return [...withoutFences(markdown).matchAll(/^#+ +(.*)$/gm)].map(([, title]) => headingAnchor(title!.trim()));
}

/** The name that GitHub gives a heading: lower case, hyphens for spaces, no punctuation. The site of the documents gives the same. */
export function headingAnchor(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

function withoutFences(markdown: string): string {
  return markdown.replaceAll(/^```[^]*?^```/gm, '');
}

function readIfPresent(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  return path.endsWith('.md') ? readFileSync(path, 'utf8') : '';
}
