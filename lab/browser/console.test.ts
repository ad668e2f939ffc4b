import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { keys, openDashboard, url, withoutBrowser } from './dashboard.ts';
import { holdTable } from './hold-table.ts';

const run = promisify(execFile);

async function send(deviceId: string, metrics: object): Promise<void> {
  const answer = await fetch(`${url}/api/v1/telemetry`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keys.token(deviceId, 'device')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ metrics }),
  });
  expect(answer.status).toBe(202);
}

const log = (page: Page) => page.getByRole('grid', { name: 'Log of the connection' });
const kept = async (page: Page) =>
  Number(/of ([\d,]+) kept/.exec((await page.locator('[data-log=count]').textContent())!)![1]!.replaceAll(',', ''));
/** The server has accepted the subscription of the page. */
const watching = (page: Page, filter: string) =>
  page
    .goto(`/console?${new URLSearchParams({ filter, kinds: 'data,control,settled,other' })}`)
    .then(() => log(page).getByText('subscribed').first().waitFor());

describe.skipIf(withoutBrowser)('Console', () => {
  it('a reading sent by hand is seen live, and turns to stored', async () => {
    const { page } = await openDashboard({ role: 'admin', subject: 'sending' });
    await watching(page, 'device:hand-1');
    await page.getByLabel('Device', { exact: true }).fill('hand-1');
    await page.getByLabel('Metrics').fill('temperature = 21.75');
    await page.getByRole('button', { name: /^Send/ }).click();
    await page.getByRole('heading', { name: 'Last sent: seq 0' }).waitFor();
    await page
      .getByRole('img', { name: /^sent, received \d.* ms, confirmed .*, stored \d/ })
      .waitFor({ timeout: 60_000 });
    const lines = log(page);
    await lines.getByText('temperature 21.75').waitFor();
    await lines
      .getByText(/^up to seq 0 · .* after sending$/)
      .first()
      .waitFor();
    await lines.getByText('temperature 21.75').click();
    const opened = page.getByRole('region', { name: 'The line as JSON' });
    await eventually(async () => expect(await opened.textContent()).toContain('"seq": 0'));
    const latest = await fetch(`${url}/api/v1/devices/hand-1/latest`, {
      headers: { authorization: `Bearer ${await keys.token('reader', 'analyst')}` },
    });
    expect(JSON.stringify(await latest.json())).toContain('21.75');
  });

  it('a frame that is typed is checked by the contract, and what the server refuses is shown', async () => {
    const { page } = await openDashboard({ role: 'admin', subject: 'typing' });
    await watching(page, 'device:hand-2');
    await page.getByRole('tab', { name: 'Raw JSON' }).click();
    const frame = page.getByLabel('Frame as JSON');
    await page.getByText('Valid by the schema of the protocol.').waitFor();
    await frame.fill('{"type":"telemetry","deviceId":"hand-2","metrics":{"temperature":[1]}}');
    await page.getByText(/Not valid: metrics.temperature/).waitFor();
    await page.getByRole('button', { name: 'Send it all the same' }).click();
    await log(page)
      .getByText(/^wrong-type: /)
      .waitFor();
    await frame.fill('{"type":"telemetry","deviceId":"hand-2","metrics":{"temperature":1}}');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await log(page).getByText('temperature 1', { exact: true }).waitFor();
    expect(await page.getByText('Valid by the schema of the protocol.').count()).toBe(1);
  });

  it('a command is answered by its device', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'commanding' });
    const token = await keys.token('obeying', 'device');
    const device = new WebSocket(`${url.replace('http', 'ws')}/ws`, ['fleetwire.v1.json', `fleetwire.token.${token}`]);
    cleanUp(() => device.close());
    const greeted = new Promise((resolve) => {
      device.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data as string) as { type: string; id: string; args: unknown };
        if (message.type === 'hello') resolve(undefined);
        if (message.type !== 'control') return;
        device.send(JSON.stringify({ type: 'control-received', id: message.id }));
        device.send(
          JSON.stringify({ type: 'control-result', id: message.id, ok: true, result: { applied: message.args } }),
        );
      });
    });
    await greeted;
    await watching(page, 'device:obeying');
    await page.getByRole('tab', { name: 'Command' }).click();
    await page.getByLabel('Device', { exact: true }).fill('obeying');
    await page.getByRole('textbox', { name: 'Command' }).fill('set-point');
    await page.getByLabel('Arguments').fill('{"value":-18}');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    const answer = page.locator('[data-state=succeeded]');
    await answer.waitFor();
    expect(await answer.textContent()).toContain('{"applied":{"value":-18}}');
    await log(page)
      .getByText(/^set-point → succeeded/)
      .waitFor();
  });

  it('while it is paused the log stands still and counts what comes', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'pausing' });
    await watching(page, 'device:pulse-*');
    await page.locator('body').press('Space');
    await page.getByRole('button', { name: /new/ }).waitFor();
    const before = await kept(page);
    for (let n = 0; n < 5; n += 1) await send('pulse-1', { n });
    await eventually(async () =>
      expect(
        Number(/(\d+) new/.exec((await page.getByRole('button', { name: /new/ }).textContent())!)![1]),
      ).toBeGreaterThanOrEqual(5),
    );
    expect(await kept(page)).toBe(before);
    expect(await log(page).getByText('n 4', { exact: true }).count()).toBe(0);
    await page.locator('body').press('Space');
    await log(page).getByText('n 4', { exact: true }).waitFor();
    expect(await kept(page)).toBeGreaterThanOrEqual(before + 5);
  });

  it('the log is filtered by words and kinds, says how many lines it shows of those kept, and is copied as NDJSON', async () => {
    const { page, context } = await openDashboard({ role: 'operator', subject: 'sifting' });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await watching(page, 'device:sift-*');
    await page.getByRole('definition').filter({ hasText: '/ws · fleetwire.v1.json' }).waitFor();
    await page.getByRole('definition').filter({ hasText: '1 device or pattern' }).waitFor();
    await send('sift-1', { heat: 1 });
    await send('sift-2', { cold: 2 });
    const [heat, cold] = ['heat 1', 'cold 2'].map((text) => log(page).getByText(text, { exact: true }));
    await heat!.waitFor();
    await cold!.waitFor();
    const before = await kept(page);
    await page.getByLabel('Filter of the log').fill('device:sift-* heat');
    await cold!.waitFor({ state: 'detached' });
    expect(await heat!.count()).toBe(1);
    expect(await kept(page)).toBeGreaterThanOrEqual(before);
    expect(await page.locator('[data-log=count]').textContent()).toMatch(/^showing 1 of/);
    await page.getByRole('button', { name: 'Copy', exact: true }).click();
    await page.getByText('1 line copied as NDJSON').waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(JSON.parse(copied)).toMatchObject({
      at: expect.stringMatching(/Z$/),
      direction: 'received',
      frame: { deviceId: 'sift-1', metrics: { heat: 1 } },
    });
    await page.getByRole('button', { name: /^data/ }).click();
    await heat!.waitFor({ state: 'detached' });
    await log(page).getByText('No line matches').waitFor();
    await page.getByRole('button', { name: /^data/ }).click();
    await heat!.waitFor();
  });

  it.each(['light', 'dark'] as const)(
    'has no violation of WCAG 2.2 AA in any of its forms, in %s',
    async (colorScheme) => {
      const { page, violations } = await openDashboard({
        role: 'admin',
        subject: `looking-${colorScheme}`,
        colorScheme,
      });
      await watching(page, 'device:seen-*');
      await send('seen-1', { temperature: 1 });
      await log(page).getByText('temperature 1', { exact: true }).waitFor();
      for (const tab of ['Telemetry', 'Command', 'Raw JSON']) {
        await page.getByRole('tab', { name: tab }).click();
        expect(await violations(), tab).toEqual([]);
      }
    },
  );

  it.each([
    ['moves while a reading is on its way', 'no-preference'],
    ['stands still where motion is reduced', 'reduce'],
  ] as const)('the wire of what was sent %s', async (_, reducedMotion) => {
    const { page } = await openDashboard({ role: 'admin', subject: `calm-${reducedMotion}`, reducedMotion });
    await watching(page, 'device:calm-*');
    const running = () =>
      page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === 'running').length);
    await using held = await holdTable('readings');
    await page.getByLabel('Device', { exact: true }).fill(`calm-${reducedMotion}`);
    await page.getByRole('button', { name: /^Send/ }).click();
    const way = page.getByRole('img', { name: /^sent, received \d.* ms, confirmed \d.*, stored not yet/ });
    await way.waitFor();
    expect(await running()).toBe(reducedMotion === 'reduce' ? 0 : 1);
    await held.release();
    await way.waitFor({ state: 'detached' });
  });

  it('fits the width of a phone', async () => {
    const { page } = await openDashboard({
      role: 'admin',
      subject: 'strolling',
      viewport: { width: 390, height: 844 },
      path: '/console',
    });
    await log(page).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });
});

describe.skipIf(withoutBrowser)('The first device', () => {
  it.each([
    ['Shell', 'sh', 'first.sh', 'sh'],
    ['Node', process.execPath, 'first.mjs', 'node'],
    ['Python', 'python3', 'first.py', 'python'],
  ] as const)(
    'three lines of %s send a reading, and its light turns green when it is stored',
    async (language, program, name, suffix) => {
      const { page, context } = await openDashboard({
        role: 'admin',
        subject: `connecting-${suffix}`,
        path: '/console?connect=device',
      });
      await context.grantPermissions(['clipboard-read', 'clipboard-write']);
      const device = `first-${suffix}`;
      await page.getByRole('textbox', { name: 'Name it' }).fill(device);
      await page.getByRole('button', { name: language, exact: true }).click();
      await page.getByText(`The token is for ${device} alone`).waitFor();
      await page.getByRole('button', { name: 'Copy with token' }).click();
      await page.getByText('Copied').waitFor();
      const lines = await page.evaluate(() => navigator.clipboard.readText());
      expect(lines.split('\n')).toHaveLength(3);
      expect(await page.getByRole('region', { name: `Three lines of ${language}` }).textContent()).not.toBe(lines);
      const arrived = page.locator('[data-arrived]');
      expect(await arrived.getAttribute('data-arrived')).toBe('waiting');

      const folder = await mkdtemp(join(tmpdir(), 'fleetwire-first-'));
      cleanUp(() => rm(folder, { recursive: true, force: true }));
      await writeFile(join(folder, name), lines);
      const { stdout } = await run(program, [join(folder, name)]);
      expect(stdout).toContain('"accepted":1');
      await page.locator('[data-arrived=stored]').waitFor();
      await arrived.getByRole('img', { name: /acknowledged .*cannot be lost now, stored within/ }).waitFor();
      const light = page.locator('.hop.last');
      const green = await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--ok'));
      expect(green).not.toBe('');
      expect(await light.evaluate((element) => getComputedStyle(element).fill)).toBe('rgb(45, 106, 62)');
      await page.getByRole('button', { name: 'Open the fleet' }).click();
      await eventually(() => expect(new URL(page.url()).pathname).toBe('/'));
    },
  );

  it.each(['light', 'dark'] as const)('has no violation of WCAG 2.2 AA in %s', async (colorScheme) => {
    const { page, violations } = await openDashboard({
      role: 'admin',
      subject: `first-${colorScheme}`,
      path: '/console?connect=device',
      colorScheme,
    });
    await page.getByText('The token is for').waitFor();
    expect(await violations()).toEqual([]);
  });
});
