import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Keys } from '@fleetwire/platform/keys';
import type { Browser, Page } from 'playwright-core';
import { fleet, truck } from './seed-devices.ts';
import { smallPng } from './small-png.ts';

const desktop = { width: 1_440, height: 1_000 };
const phone = { width: 390, height: 844 };
const waitMsMax = 180_000;

interface View {
  readonly path: string;
  readonly isOnPhone?: boolean;
  /** Resolves when the page shows what it is about: answers, live values, and rates that are not zero. */
  readonly ready: (page: Page) => Promise<unknown>;
}

const online = fleet.filter((device) => device.now === 'online').length;

const views: Readonly<Record<string, View>> = {
  fleet: {
    path: '/',
    isOnPhone: true,
    ready: async (page) => {
      await page.getByRole('heading', { level: 1, name: `${online} of ${fleet.length} devices are online` }).waitFor();
      await figure(page, 'In, last minute', /^2\.[5-9]|^3\.[01]/);
      await figure(page, 'Completeness, last hour', /^9/);
    },
  },
  device: {
    path: `/devices/${truck.deviceId}?from=now-3h`,
    isOnPhone: true,
    ready: async (page) => {
      await page.getByRole('heading', { level: 1, name: /is online at .* It was above/ }).waitFor();
      await page.locator('.bandsvg title', { hasText: 'came late, all stored' }).first().waitFor({ state: 'attached' });
    },
  },
  pipeline: {
    path: '/pipeline',
    ready: async (page) => {
      await page.getByRole('heading', { level: 1, name: /There is no bottleneck/ }).waitFor();
      // One of them works, the other is a warm standby.
      const workers = page.locator('table.instances tr', { hasText: 'worker-' });
      await workers
        .getByText(/^(0\.\d*)?[1-9].*\/s$/)
        .first()
        .waitFor();
      await page.locator('.uchart canvas').nth(1).waitFor();
    },
  },
  'dead-letters': { path: '/dead-letters?range=6h', ready: repairLetter },
  replay: {
    path: '/dead-letters?range=6h',
    ready: async (page) => {
      await repairLetter(page);
      await page.getByRole('button', { name: 'Replay edited copy' }).click();
      await page.getByRole('img', { name: '1 of 1 published, 1 stored' }).waitFor();
      await page.locator('.letter .tag', { hasText: 'stored' }).waitFor();
    },
  },
  explore: {
    path: '/explore?pattern=*&metrics=product.temperature&agg=avg&groupBy=tag%3Adepot&from=now-24h&to=now',
    ready: (page) => page.locator('.uchart canvas').first().waitFor(),
  },
  console: { path: '/console', ready: (page) => page.getByText('data').nth(12).waitFor() },
};

/** Up to the moment before the edited copy is sent. */
async function repairLetter(page: Page): Promise<void> {
  await page.getByRole('button', { name: /22P05/ }).click();
  await page.getByRole('row').filter({ hasText: 'freezer-' }).nth(3).click();
  const copy = page.getByRole('textbox', { name: 'The copy' });
  const text = await copy.inputValue();
  await copy.fill(text.replace(String.raw`\u0000`, ''));
  await page.getByText('Valid reading').waitFor();
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  await page.getByText('Dry run: 1 reading would be published; nothing was.').waitFor();
}

function figure(page: Page, label: string, value: RegExp): Promise<void> {
  return page
    .locator('.figs > *', { hasText: label })
    .locator('dd')
    .filter({ hasText: value })
    .waitFor({ state: 'attached' });
}

/**
 * Pictures of the views in both themes, and of some as on a phone.
 * @param options.wanted names of views; all where it is empty
 */
export async function photograph(
  browser: Browser,
  options: { readonly url: string; readonly keys: Keys; readonly folder: string; readonly wanted: readonly string[] },
): Promise<void> {
  const { url, keys, folder, wanted } = options;
  const isWanted = (name: string) => wanted.length === 0 || wanted.includes(name);
  const token = await keys.token('ada', 'admin');
  for (const colorScheme of ['light', 'dark'] as const)
    for (const viewport of [desktop, phone]) {
      const context = await browser.newContext({
        baseURL: url,
        colorScheme,
        viewport,
        locale: 'en-GB',
        timezoneId: 'Europe/Paris',
      });
      context.setDefaultTimeout(waitMsMax);
      const page = await context.newPage();
      const shoot = async (name: string, path: string, ready: View['ready']): Promise<void> => {
        await page.goto(path);
        await ready(page);
        // First answers of all areas; the page asks again later.
        await page.waitForLoadState('networkidle');
        await page.getByText(/^(Loading|Asking|Looking)/).waitFor({ state: 'detached' });
        // Rows have moved while the first values came.
        const sort = page.getByRole('button', { name: /sort again/ });
        if (await sort.isVisible()) await sort.click();
        await page.evaluate(() => scrollTo(0, 0));
        const suffix = viewport === phone ? '-phone' : '';
        writeFileSync(join(folder, `${name}${suffix}-${colorScheme}.png`), smallPng(await page.screenshot()));
      };
      if (isWanted('sign-in'))
        await shoot('sign-in', '/sign-in', (one) => one.getByRole('heading', { name: 'Sign in' }).waitFor());
      await context.request.post('/api/v1/session', { data: { token } });
      for (const [name, { path, isOnPhone = false, ready }] of Object.entries(views))
        if (isWanted(name) && (viewport !== phone || isOnPhone)) await shoot(name, path, ready);
      await context.close();
    }
}
