import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import type { Value } from './figure-list.ts';
import { type BenchContext, openPage } from './page.ts';

declare global {
  interface Window {
    /** When Fleet showed its sentence, the counts of all devices, and rows; milliseconds since the navigation began. */
    meaningfulMs?: number;
  }
}

/** How long a browser takes on this machine now, with the same load beside it, for a page that needs nothing: the floor of the first view. */
export async function measureBarePage(context: BenchContext): Promise<readonly Value[]> {
  const server = createServer((_, answer) =>
    answer.end('<!doctype html><title>bare</title><h1>5,000 devices are online.</h1>'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await using opened = await openPage(context, 'bare');
  const { page } = opened;
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const value = await paintMs(page);
  server.closeAllConnections();
  server.close();
  return [{ kind: 'barePaint', name: 'reference: first paint of a bare page', unit: 'ms', value }];
}

/** Fleet with an empty cache: from the navigation to its sentence and its rows on the screen, and the script that it loaded for them. */
export async function measureFirstView(context: BenchContext): Promise<readonly Value[]> {
  await using opened = await openPage(context, 'arriving');
  const { page } = opened;
  await page.addInitScript(() => {
    // A sentence about a backlog has digits before any device is counted; one row is not yet a table.
    const isMeaningful = () =>
      /\d/.test(document.querySelector('h1')?.textContent ?? '') &&
      /\d/.test(document.querySelector('.figs.fleet dd')?.textContent ?? '') &&
      document.querySelectorAll('.vrow').length >= 10;
    const observer = new MutationObserver(() => {
      if (!isMeaningful()) return;
      observer.disconnect();
      // The frame that shows it, and the one after it, by which it is on the screen.
      requestAnimationFrame(() => requestAnimationFrame(() => (window.meaningfulMs = performance.now())));
    });
    observer.observe(document, { childList: true, subtree: true, characterData: true });
  });
  await page.goto('/');
  await page.waitForFunction(() => window.meaningfulMs !== undefined, undefined, { timeout: 60_000 });
  const meaningful = await page.evaluate(() => window.meaningfulMs!);
  // The whole view, with what is loaded after its first paint.
  await page.locator('.rates .uplot canvas').first().waitFor({ timeout: 60_000 });
  const scriptBytes = await page.evaluate(() =>
    (performance.getEntriesByType('resource') as PerformanceResourceTiming[])
      .filter(({ name }) => new URL(name).pathname.endsWith('.js'))
      .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
  );
  return [
    { kind: 'firstPaint', name: 'first paint', unit: 'ms', value: await paintMs(page) },
    {
      kind: 'meaningfulPaint',
      name: 'first meaningful paint: the sentence, the counts and the rows of Fleet',
      unit: 'ms',
      goal: { direction: 'at most', bar: 1_000 },
      value: meaningful,
    },
    {
      kind: 'scriptBytes',
      name: 'compressed script of the first view',
      unit: 'kB',
      goal: { direction: 'at most', bar: 120 },
      value: scriptBytes / 1_000,
    },
  ];
}

async function paintMs(page: Page): Promise<number> {
  const found = await page.waitForFunction(
    () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    undefined,
    { timeout: 60_000 },
  );
  return (await found.jsonValue()) as number;
}
