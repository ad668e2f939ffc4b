import { eventually } from '@fleetwire/platform/testing/eventually';
import { beforeAll, describe, expect, it } from 'vitest';
import { insecureHost } from './chromium.ts';
import { keys, openDashboard, signInCode, url, withoutBrowser } from './dashboard.ts';
import { call } from './device-client.ts';

const views = ['/pipeline', '/dead-letters', '/explore', '/console', '/'];

const readersViews = ['Fleet', 'Explore'];
const allViews = ['Fleet', 'Pipeline', 'Dead letters', 'Explore', 'Console'];

describe.skipIf(withoutBrowser)('the dashboard', () => {
  // An empty fleet would show the way to its first device.
  beforeAll(() => call('POST', '/devices', { deviceId: 'around-1', name: 'Reefer 1', tags: ['depot:porto'] }));

  it.each([
    ['analyst', readersViews],
    ['operator', allViews],
    ['admin', allViews],
  ] as const)(
    'shows the role %s its views, names the role that the others need, and offers what it may do',
    async (role, shown) => {
      const { page, takeErrors } = await openDashboard({ role, subject: `as-${role}` });
      const links = page.locator('header nav a');
      expect((await links.allTextContents()).map((text) => text.replace(/\d.*/, '').trim())).toEqual(shown);
      for (const [index, view] of ['/', '/pipeline', '/dead-letters', '/explore', '/console'].entries()) {
        await page.goto(view);
        const heading = page.locator('main h1').first();
        await heading.waitFor({ state: 'attached' });
        const isShown = (shown as readonly string[]).includes(allViews[index]!);
        const refused = `${allViews[index]} needs the role operator; this session is ${role}.`;
        if (isShown) expect(await heading.textContent()).not.toContain('needs the role');
        else expect(await heading.textContent()).toBe(refused);
      }
      const isOperator = role !== 'analyst';
      await page.goto('/devices/around-1');
      await page.getByRole('heading', { level: 1, name: /Reefer 1/ }).waitFor();
      const offered = async (name: string) => page.getByRole('button', { name, exact: true }).count();
      expect([await offered('Edit'), await offered('Send command'), await offered('Mint token')]).toEqual([
        Number(isOperator),
        Number(isOperator),
        Number(role === 'admin'),
      ]);
      const wire = page.locator('.wire.no-phone');
      await wire.getByText(/API/).waitFor();
      expect((await wire.textContent())!.includes('queued')).toBe(isOperator);
      // The server decides, whatever a page shows.
      const status = await page.evaluate(async () => (await fetch('/api/v1/queues')).status);
      expect(status).toBe(isOperator ? 200 : 403);
      expect(takeErrors().every((text) => text.includes('403'))).toBe(true);
      if (!isOperator) return;
      await page.goto('/console');
      await page.getByRole('tab', { name: 'Telemetry' }).waitFor();
      expect(await page.getByLabel('Metrics').count()).toBe(Number(role === 'admin'));
    },
  );

  it.each(['light', 'dark'] as const)(
    'has no violation of WCAG 2.2 AA in menus, search and dialogs, which fit on a phone, in %s',
    async (colorScheme) => {
      const { page, violations } = await openDashboard({
        role: 'admin',
        subject: `opening-${colorScheme}`,
        colorScheme,
      });
      await page.getByRole('row', { name: /around-1/ }).waitFor();
      await page.keyboard.press('?');
      await page.getByRole('dialog', { name: 'Keys' }).waitFor();
      expect(await violations()).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: /^opening-/ }).click();
      await page.getByRole('link', { name: 'Documentation', exact: true }).waitFor();
      expect(await violations()).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('/');
      await page.keyboard.type('around');
      await page.locator('.found').getByText('around-1').waitFor();
      expect(await violations()).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Add device' }).first().click();
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('Id', { exact: true }).fill(`around-${colorScheme}`);
      expect(await violations()).toEqual([]);
      await dialog.getByRole('button', { name: 'Add device' }).click();
      await dialog.getByText('Waiting for its first reading').waitFor();
      expect(await violations()).toEqual([]);
      await dialog.getByRole('button', { name: 'Done' }).click();
      await page.goto(`/devices/around-${colorScheme}`);
      await page.getByRole('button', { name: 'Edit', exact: true }).click();
      expect(await violations()).toEqual([]);
      await dialog.getByLabel('Name', { exact: true }).fill('Reefer 9');
      await dialog.getByRole('button', { name: 'Save' }).click();
      await page.getByRole('heading', { level: 1, name: /Reefer 9/ }).waitFor();
      await page.getByRole('button', { name: 'Mint token' }).click();
      await page.getByRole('dialog', { name: `A token for around-${colorScheme}.` }).waitFor();
      await dialog.getByRole('button', { name: 'Done' }).click();
      await page.locator('header nav a[href="/"]').click();
      await page.getByRole('row', { name: /around-1/ }).waitFor();
      await page.setViewportSize({ width: 390, height: 844 });
      await page.getByRole('button', { name: 'Add device' }).first().click();
      await dialog.getByLabel('Id', { exact: true }).waitFor();
      expect(await violations()).toEqual([]);
      const { x, width } = (await dialog.boundingBox())!;
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x + width).toBeLessThanOrEqual(390);
    },
  );

  it('Back opens a view as it was left, also where its filter was typed in the moment before', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'returning', path: '/console' });
    const filter = page.getByLabel('Filter of the log');
    await filter.waitFor();
    await filter.evaluate((input: HTMLInputElement) => {
      input.value = 'device:around-*';
      input.dispatchEvent(new InputEvent('input', { bubbles: true }));
      document.querySelector<HTMLElement>('header nav a[href="/explore"]')!.click();
    });
    await page.waitForURL('**/explore*');
    await page.locator('.query').waitFor();
    await page.goBack();
    await filter.waitFor();
    await eventually(async () => expect(await filter.inputValue()).toBe('device:around-*'));
    await page.reload();
    await eventually(async () => expect(await filter.inputValue()).toBe('device:around-*'));
  });

  it('works in every view at an address without TLS, where browsers keep some functions from pages', async () => {
    const at = { url: url.replace('127.0.0.1', insecureHost), keys };
    const code = await signInCode({ url, keys }, 'without-tls', 'admin');
    const { page, takeErrors } = await openDashboard({ at, path: `/sign-in#code=${code}` });
    await page.getByRole('navigation').first().waitFor();
    expect(await page.evaluate(() => isSecureContext)).toBe(false);
    for (const view of views) {
      await page.locator(`header nav a[href="${view}"]`).click();
      await page.locator('main h1').first().waitFor();
      await page.getByText('live', { exact: false }).first().waitFor();
    }
    await page.goto(`${at.url}/console`);
    await page.getByRole('button', { name: /^Send/ }).waitFor();
    // Before it was signed in, it asked whether it is; and the browser says of a header that it needs TLS.
    const expected = /\/api\/v1\/session|Cross-Origin-Opener-Policy/;
    expect(takeErrors().filter((text) => !expected.test(text))).toEqual([]);
  });

  it('loads the page again where the code of a view is of another release, and shows the view', async () => {
    const { page, takeErrors } = await openDashboard({ role: 'operator', subject: 'upgraded' });
    let missing = 1;
    await page.route(/\/assets\/console-[^/]*\.js$/, (route) =>
      missing-- > 0 ? route.fulfill({ status: 404, body: '' }) : route.continue(),
    );
    await page.locator('header nav a[href="/console"]').click();
    await page.getByRole('grid', { name: 'Log of the connection' }).waitFor();
    expect(takeErrors().every((text) => text.includes('404'))).toBe(true);
  });
});
