import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { dashboardAssets, dashboardViews } from '@fleetwire/contracts/dashboard-paths';
import type { Logger } from '@fleetwire/runtime/logger';
import { Router, type RequestHandler } from 'express';

/** Its views, and those with an id: `/devices/pump-1`. */
const viewPattern = new RegExp(`^(?:/|(?:${dashboardViews.join('|')})(?:/[^/]+)?/?)$`);
const yearSeconds = 365 * 24 * 3_600;

const absent = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fleetwire</title></head><body>
<p>The dashboard is not built: run <code>node scripts/dashboard.mjs</code>, or set DASHBOARD_DIR, and restart query-api. The API is described at <a href="/docs">/docs</a>.</p>
</body></html>`;

/**
 * The files of the dashboard: one page for every view, and assets whose names change with their content. Each is sent compressed where the build
 * has compressed it. They are read once, below 2 MB: a page and its assets are always of one build, also while the next one replaces the files.
 */
export function dashboardPages({ directory, logger }: { readonly directory: string; readonly logger: Logger }): Router {
  const router = Router({ caseSensitive: true });
  router.use(policy);
  if (!existsSync(join(directory, 'index.html'))) {
    logger.info({ directory }, 'the dashboard is not built');
    router.get(viewPattern, (_request, response) => void response.status(404).type('html').send(absent));
    return router;
  }
  const files = readFiles(directory);
  const send = (path: string, cacheControl: string): RequestHandler | undefined => {
    const file = files.get(path);
    if (file === undefined) return undefined;
    return (request, response) => {
      const encoding = encodings.find(({ name }) => file.has(name) && request.acceptsEncodings(name) !== false);
      response.setHeader('Cache-Control', cacheControl);
      response.vary('Accept-Encoding').type(extname(path));
      if (encoding !== undefined) response.setHeader('Content-Encoding', encoding.name);
      const { content, tag } = file.get(encoding?.name ?? 'identity')!;
      response.setHeader('ETag', tag).send(content);
    };
  };
  // The page names the assets of its build: it is asked for each time, and not sent again if it is the same.
  router.get(viewPattern, send('/index.html', 'no-cache')!);
  router.get(`${dashboardAssets}/*path`, (request, response, next) => {
    const sendAsset = send(request.path, `public, max-age=${yearSeconds}, immutable`);
    return sendAsset === undefined ? next() : sendAsset(request, response, next);
  });
  return router;
}

/** In the order of preference. */
const encodings = [
  { name: 'br', extension: '.br' },
  { name: 'gzip', extension: '.gz' },
] as const;

type Encoding = (typeof encodings)[number]['name'] | 'identity';

interface Encoded {
  readonly content: Buffer;
  readonly tag: string;
}

/** @returns by path as in addresses, the content by encoding */
function readFiles(directory: string): ReadonlyMap<string, ReadonlyMap<Encoding, Encoded>> {
  const files = new Map<string, Map<Encoding, Encoded>>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const { name, extension } = encodings.find((one) => extname(file) === one.extension) ?? identity;
    const path = `/${relative(directory, file).split(sep).join('/')}`.slice(0, -extension.length || undefined);
    const content = readFileSync(file);
    const tag = `"${createHash('sha256').update(content).digest('base64url')}"`;
    files.set(path, (files.get(path) ?? new Map<Encoding, Encoded>()).set(name, { content, tag }));
  }
  return files;
}

const identity = { name: 'identity', extension: '' } as const;

/** Files of this origin only, and no inline script or style: what a device calls itself cannot run. */
const policy: RequestHandler = (request, response, next) => {
  if (!viewPattern.test(request.path)) return next();
  const { host = '' } = request.headers;
  // Not every browser takes 'self' for sockets too.
  const sockets = /^[\w.:[\]-]+$/.test(host) ? ` ws://${host} wss://${host}` : '';
  response.setHeader(
    'Content-Security-Policy',
    [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      "font-src 'self'",
      `connect-src 'self'${sockets}`,
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ].join('; '),
  );
  response.setHeader('X-Frame-Options', 'DENY');
  next();
};
