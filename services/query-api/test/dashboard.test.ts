import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { migrate } from '@fleetwire/store/migrate';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { sendHeaders } from '@fleetwire/platform/testing/send-headers';
import { expect, it } from 'vitest';
import { startApi } from './running-api.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const directory = await mkdtemp(join(tmpdir(), 'fleetwire-dashboard-'));
cleanUp(() => rm(directory, { recursive: true }));
const script = 'export const answer = 42;\n'.repeat(100);
await mkdir(join(directory, 'assets'));
await writeFile(join(directory, 'index.html'), '<!doctype html><title>built</title>');
await writeFile(join(directory, 'assets/app-1a2b.js'), script);
await writeFile(join(directory, 'assets/app-1a2b.js.gz'), gzipSync(script));
const guide = join(directory, 'guide');
const api = await startApi({ DATABASE_URL: databaseUrl, DASHBOARD_DIR: directory, GUIDE_DIR: guide });

const get = (path: string, headers: Record<string, string> = {}) => fetch(api.url + path, { headers });

it.each([
  '/',
  '/devices/pump-1',
  '/pipeline',
  '/dead-letters',
  '/dead-letters/7',
  '/explore?q=1',
  '/console',
  '/sign-in',
])('answers %s with the page of the dashboard, which is asked for each time and sent once', async (path) => {
  const page = await get(path);
  expect([page.status, await page.text()]).toEqual([200, '<!doctype html><title>built</title>']);
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  expect(page.headers.get('cache-control')).toBe('no-cache');
  // fetch would add `Cache-Control: no-cache`, which asks for the whole page.
  const again = await sendHeaders(api.url + path, { 'If-None-Match': page.headers.get('etag')! });
  expect(again.status).toBe(304);
});

it('allows the page nothing but files and calls of its own origin, and no inline script or style', async () => {
  const { headers } = await get('/pipeline');
  const host = new URL(api.url).host;
  expect(headers.get('content-security-policy')!.split('; ').sort()).toEqual([
    "base-uri 'none'",
    `connect-src 'self' ws://${host} wss://${host}`,
    "default-src 'none'",
    "font-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self' data:",
    "script-src 'self'",
    "style-src 'self'",
  ]);
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('referrer-policy')).toBe('no-referrer');
  const forged = await sendHeaders(`${api.url}/`, { Host: "evil.example; script-src 'unsafe-inline'" });
  expect(forged.headers['content-security-policy']).toContain("connect-src 'self';");
});

it('sends files with a hash in their name for good, compressed as they were built', async () => {
  const plain = await get('/assets/app-1a2b.js', { 'accept-encoding': 'identity' });
  expect(plain.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
  expect(plain.headers.get('content-type')).toMatch(/javascript/);
  expect(await plain.text()).toBe(script);
  const { headers } = await sendHeaders(`${api.url}/assets/app-1a2b.js`, { 'Accept-Encoding': 'gzip' });
  expect(headers).toMatchObject({ 'content-encoding': 'gzip', vary: expect.stringContaining('Accept-Encoding') });
  expect(Number(headers['content-length'])).toBe(gzipSync(script).length);
});

it.each([
  '/assets/none.js',
  '/assets/../index.html',
  '/assets/%2e%2e/index.html',
  '/devices/a/b',
  '/elsewhere',
  '/index.html',
])('answers %s with a problem document, not with the page', async (path) => {
  const { status, headers } = await sendHeaders(api.url + path, {});
  expect([status, headers['content-type']]).toEqual([404, 'application/problem+json']);
});

it('goes on with the build that it has read while its files are replaced', async () => {
  await writeFile(join(directory, 'index.html'), '<!doctype html><title>built again</title>');
  await rm(join(directory, 'assets'), { recursive: true });
  expect(await (await get('/')).text()).toBe('<!doctype html><title>built</title>');
  expect(await (await get('/assets/app-1a2b.js')).text()).toBe(script);
});

it('says how the dashboard is built where it is not', async () => {
  const { url } = await startApi({ DATABASE_URL: databaseUrl, DASHBOARD_DIR: join(directory, 'none') });
  const page = await fetch(`${url}/`);
  expect([page.status, await page.text()]).toEqual([404, expect.stringContaining('scripts/dashboard.mjs')]);
  expect((await fetch(`${url}/assets/app.js`)).status).toBe(404);
  expect((await fetch(`${url}/docs`)).status).toBe(200);
});

it('serves the documents at /guide/ once they are built, and says before how to build them', async () => {
  const before = await get('/guide/');
  expect([before.status, await before.text()]).toEqual([404, expect.stringContaining('npm run docs')]);
  await mkdir(join(guide, 'docs'), { recursive: true });
  await writeFile(join(guide, 'index.html'), '<!doctype html><title>guide</title>');
  await writeFile(join(guide, '404.html'), '<!doctype html><title>no such page</title>');
  await writeFile(join(guide, 'docs/live.html'), '<!doctype html><title>live</title>');
  for (const [path, status, title] of [
    ['/guide', 200, 'guide'],
    ['/guide/docs/live.html', 200, 'live'],
    ['/guide/docs/live', 200, 'live'],
    ['/guide/docs/nowhere.html', 404, 'no such page'],
    ['/guide/..%2findex.html', 404, 'no such page'],
  ]) {
    const page = await get(String(path));
    expect([path, page.status, await page.text()]).toEqual([path, status, `<!doctype html><title>${title}</title>`]);
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
  }
});
