import { eventually } from '@fleetwire/platform/testing/eventually';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, call, connectDevice } from './device-client.ts';
import { keys, openDashboard, url, withoutBrowser } from './dashboard.ts';

const phone = { width: 390, height: 844 };

/** Registers or retires devices one after the other, as a caller of its own: calls are bounded by caller. */
async function each(method: 'POST' | 'DELETE', ids: readonly string[]): Promise<void> {
  const headers = {
    authorization: `Bearer ${await keys.token('many-devices', 'admin')}`,
    'content-type': 'application/json',
    'if-match': '*',
  };
  for (const deviceId of ids) {
    const [path, body] = method === 'POST' ? ['', JSON.stringify({ deviceId })] : [`/${deviceId}`, undefined];
    const answer = await fetch(`${url}/api/v1/devices${path}`, {
      method,
      headers,
      ...(body !== undefined && { body }),
    });
    expect(answer.ok, `${deviceId}: ${answer.status}`).toBe(true);
  }
}

describe.skipIf(withoutBrowser)('Fleet', () => {
  let online: Device;
  beforeAll(async () => {
    for (const [deviceId, depot] of [
      ['fleet-a', 'porto'],
      ['fleet-b', 'porto'],
      ['fleet-c', 'wien'],
    ] as const)
      await call('POST', '/devices', {
        deviceId,
        name: `Reefer ${deviceId}`,
        type: 'truck',
        tags: [`depot:${depot}`],
        expectedIntervalMs: 1_000,
        metadata: { units: { temperature: '°C' } },
      });
    online = await connectDevice('fleet-a');
    await online.send({ temperature: 4.5 });
    return () => online.close();
  });

  it('shows the value of a device when its frame has arrived, and its presence', async () => {
    const { page } = await openDashboard({
      role: 'operator',
      subject: 'fleet-live',
      path: '/?q=fleet-a&metric=temperature',
    });
    const row = page.getByRole('row', { name: /fleet-a/ });
    await row.getByText('online').waitFor();
    // The page subscribes to the rows that it shows; a reading before that is in its history only.
    await eventually(async () => {
      await online.send({ temperature: 5 });
      expect(await row.textContent()).toMatch(/5 °C/);
    });
    const sentAt = Date.now();
    await online.send({ temperature: 7.25 });
    await row.getByText('7.25').waitFor();
    expect(Date.now() - sentAt, 'ms until the value is on the page').toBeLessThan(30_000);
    await page
      .getByRole('heading', { level: 1 })
      .filter({ hasText: /device/ })
      .waitFor();
  });

  it('a tab that was stalled shows the newest value, and writes no value more than 4 times a second', async () => {
    const { page } = await openDashboard({
      role: 'operator',
      subject: 'fleet-stalled',
      path: '/?q=fleet-a&metric=temperature',
    });
    const row = page.getByRole('row', { name: /fleet-a/ });
    await eventually(async () => {
      await online.send({ temperature: 6 });
      expect(await row.textContent()).toMatch(/6 °C/);
    });
    const began = await row.evaluate((element) => {
      const counter = window as unknown as { writes: number };
      counter.writes = 0;
      new MutationObserver(() => (counter.writes += 1)).observe(element, {
        subtree: true,
        childList: true,
        characterData: true,
      });
      return performance.now();
    });
    const stalled = page.evaluate(() => {
      const end = performance.now() + 3_000;
      while (performance.now() < end);
    });
    await Promise.all(Array.from({ length: 300 }, (_, index) => online.send({ temperature: 10 + index / 1_000 })));
    await stalled;
    await row.getByText('10.299').waitFor();
    const { writes, seconds } = await page.evaluate(
      (since) => ({
        writes: (window as unknown as { writes: number }).writes,
        seconds: (performance.now() - since) / 1_000,
      }),
      began,
    );
    // The age beside the value is written once a second, too.
    expect(writes).toBeLessThanOrEqual(5 * seconds + 5);
  });

  it('shows its counts and first rows before all devices are there; filter and order are right then and afterwards', async () => {
    const ids = Array.from({ length: 55 }, (_, index) => `first-view-${String(index + 1).padStart(2, '0')}`);
    await each('POST', ids);
    const { page } = await openDashboard({ role: 'operator', subject: 'fleet-first' });
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.routeWebSocket(/\/ws$/, (socket) => {
      const server = socket.connectToServer();
      server.onMessage(async (message) => {
        await released;
        socket.send(message);
      });
    });
    const rows = page.getByRole('grid', { name: 'Devices' }).locator('.vrow');
    const row = (id: string) => page.getByRole('row', { name: new RegExp(id) });
    await page.goto('/?q=first-view-&sort=device');
    await row('first-view-01').waitFor();
    await page.getByText(/of \d+$/).waitFor();
    await page.getByText(/^Loading \d+ devices…$/).waitFor();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toMatch(/\d/);
    await page.getByLabel('Filter by id, name or tag').fill('first-view-55');
    await row('first-view-55').waitFor();
    expect(await rows.count()).toBe(1);
    await page.goto('/?q=first-view-&sort=-device');
    await rows.filter({ hasText: 'first-view-55' }).waitFor();
    expect(await rows.first().textContent()).toContain('first-view-55');

    release();
    await page.getByText(/^55 of \d+ devices$/).waitFor();
    expect(await page.getByRole('grid', { name: 'Devices' }).getAttribute('aria-rowcount')).toBe('56');
    expect(await rows.first().textContent()).toContain('first-view-55');
    await page.locator('.vrow[tabindex="0"]').focus();
    await page.keyboard.press('End');
    await eventually(async () =>
      expect(await page.evaluate(() => document.activeElement?.textContent)).toContain('first-view-01'),
    );
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'))).toBe('56');
    await page.getByLabel('Filter by id, name or tag').fill('first-view-5');
    await row('first-view-50').waitFor();
    await eventually(async () => expect(await rows.count()).toBe(6));
    await each('DELETE', ids);
  });

  it('a link with filters shows those devices; an empty answer says how to go on', async () => {
    const { page } = await openDashboard({ role: 'analyst', subject: 'fleet-filter', path: '/?tag=depot:porto' });
    await page.getByRole('row', { name: /fleet-b/ }).waitFor();
    expect(await page.getByRole('row', { name: /fleet-c/ }).count()).toBe(0);
    expect(await page.getByRole('button', { name: 'Add device' }).count()).toBe(0);
    await page.getByLabel('Filter by id, name or tag').fill('no-such-device');
    await page.getByText('No device matches').waitFor();
    await eventually(() => expect(new URL(page.url()).searchParams.get('q')).toBe('no-such-device'));
    await page.getByRole('button', { name: 'Remove the filters' }).click();
    await page.getByRole('row', { name: /fleet-c/ }).waitFor();
  });

  it('is used with the keyboard alone: views, search, rows', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'fleet-keys', path: '/?q=fleet-' });
    await page.getByRole('row', { name: /fleet-c/ }).waitFor();
    await page.locator('.vrow[tabindex="0"]').focus();
    await page.keyboard.press('End');
    const last = await eventually(async () => {
      const text = await page.evaluate(() => document.activeElement?.textContent ?? '');
      expect(text).toMatch(/fleet-/);
      return text;
    });
    await page.keyboard.press('Enter');
    const id = /fleet-[abc]/.exec(last)![0];
    await page.waitForURL(`**/devices/${id}`);
    await page.keyboard.press('g');
    await page.keyboard.press('f');
    await page.waitForURL((url) => url.pathname === '/');
    await page.keyboard.press('/');
    await page.keyboard.type('fleet-b');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/devices/fleet-b');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await page.goBack();
    await page.waitForURL((url) => url.pathname === '/');
  });

  it('an admin adds a device, sees its token once, and the first reading arrive', async () => {
    const { page } = await openDashboard({ role: 'admin', subject: 'fleet-adding' });
    await page.getByRole('button', { name: 'Add device' }).first().click();
    await page.getByLabel('Id', { exact: true }).fill('fleet-new');
    await page.getByLabel('Tags').fill('depot:porto');
    await page.getByRole('dialog').getByRole('button', { name: 'Add device' }).click();
    const dialog = page.getByRole('dialog', { name: /fleet-new is added/ });
    await dialog.getByText('Waiting for its first reading').waitFor();
    const token = (await dialog.locator('.token').textContent())!;
    const device = await connectDevice('fleet-new', token);
    await device.send({ temperature: 1 });
    await dialog.getByText('First reading at').waitFor();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await page.goto('/?q=fleet-new');
    await page
      .getByRole('row', { name: /fleet-new/ })
      .getByText('online')
      .waitFor();
    expect(await page.content()).not.toContain(token);
    await device.close();
  });

  it.each(['light', 'dark'] as const)(
    'has no violation of WCAG 2.2 AA in %s, on the desktop and on the phone, and scrolls to no side',
    async (colorScheme) => {
      for (const viewport of [{ width: 1_440, height: 1_000 }, phone]) {
        const { page, violations } = await openDashboard({
          role: 'operator',
          subject: 'fleet-axe',
          path: '/?q=fleet-',
          colorScheme,
          viewport,
        });
        await page.getByRole('row', { name: /fleet-c/ }).waitFor();
        expect(await violations()).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      }
    },
  );
});
