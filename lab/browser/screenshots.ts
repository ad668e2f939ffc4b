import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTemporaryBackingServices } from '@fleetwire/platform/servers/temporary';
import { chromium } from 'playwright-core';
import { findBrowser } from '../../scripts/browser.mjs';
import { interruption } from '../bench/interruption.ts';
import { launchChromium } from './chromium.ts';
import { photograph } from './photograph.ts';
import { startBrowserPlatform } from './platform.ts';
import { seedFleet } from './seed.ts';

/** `npm run screenshots [-- VIEW…]`: pictures of every view in both themes, and as on a phone, of a seeded fleet, into .fleetwire/screenshots. */
const root = join(import.meta.dirname, '../..');
const target = join(root, '.fleetwire/screenshots');

const path = findBrowser();
if (path === undefined)
  throw new Error('There is no Chromium: install it (Debian: apt-get install chromium), or give CHROMIUM.');
const interrupted = interruption(console.log);
await using started = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'fleetwire-screenshots-'));
started.defer(() => rmSync(folder, { recursive: true, force: true }));
const servers = started.adopt(
  await startTemporaryBackingServices({ mode: 'auto', parentDir: join(root, '.fleetwire'), log: console.log }),
  (one) => one.stop(),
);
const running = started.use(await startBrowserPlatform({ ...servers, folder, instances: 2 }));
console.log('A fleet with a day of history is made ...');
started.use(await Promise.race([seedFleet(running, servers), interrupted]));

const server = started.adopt(await launchChromium(path), (one) => one.close());
const browser = started.adopt(await chromium.connect(server.wsEndpoint()), (one) => one.close());
mkdirSync(target, { recursive: true });
const pictures = photograph(browser, {
  url: running.url,
  keys: running.platform.keys,
  folder: target,
  wanted: process.argv.slice(2),
});
await Promise.race([pictures, interrupted]);
console.log(`The pictures are in ${target}`);
