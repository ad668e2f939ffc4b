import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';

interface Token {
  type: string;
  tag: string;
  attrs: [string, string][] | null;
  children: Token[] | null;
  attrGet(name: string): string | null;
  attrSet(name: string, value: string): void;
}

interface State {
  tokens: Token[];
  env: { relativePath: string };
}

/** Files of the repository that pages link to and that are no pages. */
export const linkedFiles = new Set(['docs/openapi.json']);

/**
 * A rule of markdown-it. A link to a file that is no page leads to a copy of the file in the site; one to a folder is no link here.
 * Links that lead nowhere are left to the check of dead links.
 */
export function linkSources({ root, base, pages }: { root: string; base: string; pages: readonly string[] }) {
  return ({ tokens, env }: State): void => {
    const inside = tokens.flatMap(({ children }) => children ?? []);
    for (const [index, token] of inside.entries()) {
      const href = token.type === 'link_open' ? token.attrGet('href') : null;
      if (href === null || /^([a-z][a-z+.-]*:|#|\/)/i.test(href)) continue;
      const path = join(dirname(env.relativePath), decodeURI(href.replace(/#.*/, '')));
      if (pages.includes(path) || !existsSync(join(root, path))) continue;
      if (statSync(join(root, path)).isDirectory()) {
        asText(token, inside.slice(index));
        continue;
      }
      linkedFiles.add(path);
      token.attrSet('href', base + copyOf(path));
      token.attrSet('target', '_blank');
    }
  };
}

/** Browsers show these as they are; a source file is shown as text. */
export function copyOf(path: string): string {
  return /\.(?:json|svg|png)$/.test(path) ? path : `${path}.txt`;
}

function asText(link: Token, following: Token[]): void {
  link.tag = 'span';
  link.attrs = null;
  const end = following.find(({ type }) => type === 'link_close');
  if (end) end.tag = 'span';
}
