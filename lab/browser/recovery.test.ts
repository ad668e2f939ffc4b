import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Dashboard, type DashboardOptions, openDashboard, withoutBrowser } from './dashboard.ts';
import { type BrowserPlatform, startBrowserPlatform } from './platform.ts';

const patient = { timeout: 60_000 };

describe.skipIf(withoutBrowser)('a page whose services fail', () => {
  let running: BrowserPlatform;

  beforeAll(async () => {
    await using started = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'fleetwire-recovery-'));
    started.defer(() => rmSync(folder, { recursive: true, force: true }));
    const servers = { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() };
    running = started.use(await startBrowserPlatform({ ...servers, managementUrl: inject('managementUrl'), folder }));
    const resources = started.move();
    return () => resources.disposeAsync();
  }, 120_000);

  /** Calls and sockets that fail are told in the console of the page; nothing else may be. */
  const isOutage = (text: string) => /status of 50[234]|WebSocket connection to/.test(text);
  let opened: Dashboard[] = [];
  async function open(options: DashboardOptions): Promise<Page> {
    const at = { url: running.url, keys: running.platform.keys };
    const dashboard = await openDashboard({ at, role: 'operator', ...options });
    opened.push(dashboard);
    return dashboard.page;
  }
  function expectOutagesOnly(): void {
    for (const { takeErrors } of opened) expect(takeErrors().filter((text) => !isOutage(text))).toEqual([]);
    opened = [];
  }

  let seq = 0;
  /** A reading of the device, sent again on another socket until it is acknowledged. */
  async function send(celsius: number, { deviceId = 'pump', staysOnline = false } = {}): Promise<void> {
    seq += 1;
    const own = seq;
    const authorization = `Bearer ${await running.platform.keys.token(deviceId, 'device')}`;
    await eventually(
      async () => {
        const socket = new WebSocket(`${running.url.replace('http', 'ws')}/ws?epoch=one`, ['fleetwire.v1.json'], {
          headers: { authorization },
        });
        let isDone = false;
        try {
          await once(socket, 'open');
          const acknowledged = new Promise<void>((resolve, reject) => {
            socket.once('close', () => reject(new Error('closed')));
            socket.on('message', (data) => {
              const { type, upTo = 0 } = JSON.parse((data as Buffer).toString('utf8')) as {
                type: string;
                upTo?: number;
              };
              if (type === 'ack' && upTo >= own) resolve();
            });
          });
          acknowledged.catch(() => {});
          socket.send(JSON.stringify({ type: 'telemetry', seq: own, ts: Date.now(), metrics: { celsius } }));
          await acknowledged;
          isDone = true;
        } finally {
          socket.on('error', () => {});
          if (isDone && staysOnline) cleanUp(() => socket.terminate());
          else socket.terminate();
        }
      },
      { intervalMs: 250 },
    );
  }

  const banner = (page: Page) => page.locator('.banner');

  /** What the banner of a page says from now on. A verdict stays for seconds only, in which a busy machine may not look. */
  async function watchBanner(page: Page): Promise<() => Promise<readonly { verdict: string; text: string }[]>> {
    const notes = await page.evaluateHandle(() => {
      const said: { verdict: string; text: string }[] = [];
      const note = (): void => {
        const shown = document.querySelector<HTMLElement>('.banner');
        if (shown !== null) said.push({ verdict: shown.dataset['verdict'] ?? '', text: shown.textContent });
      };
      new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
      return said;
    });
    return () => notes.jsonValue();
  }

  it('the way to the first reading stays until its light is green, and until its viewer leaves it', async () => {
    const page = await open({ path: '/', role: 'admin', subject: 'first' });
    await page.getByRole('heading', { name: 'Connect the first device' }).waitFor(patient);
    const [worker] = running.platform.services['persistence-worker'];
    await worker!.stop();
    const light = (state: string) => page.locator(`[data-arrived=${state}]`);
    await light('waiting').waitFor(patient);
    await send(1, { deviceId: 'bench-1', staysOnline: true });
    await light('acknowledged').waitFor(patient);
    worker!.start();
    await light('stored').waitFor(patient);
    // The fleet is not empty any more, which the line above the page shows.
    await page.locator('.wire').getByText('1 online').first().waitFor(patient);
    expect(await page.locator('h1').textContent()).toBe('Connect the first device');
    await page.getByRole('button', { name: 'Open the fleet' }).click();
    await page.getByRole('row', { name: /bench-1/ }).waitFor(patient);
    expectOutagesOnly();
  });

  it('after the ingest-ws is killed: what is lost and since when, what works on, and then that nothing is missing', async () => {
    await send(1);
    const device = await open({ path: '/devices/pump', subject: 'device-page' });
    const fleet = await open({ path: '/?q=pump&metric=celsius', subject: 'fleet-page' });
    // Its cursors are not those that the server has signed.
    const stranger = await open({ path: '/devices/pump', subject: 'stranger-page' });
    await stranger.routeWebSocket('**/ws', (socket) => {
      const server = socket.connectToServer();
      socket.onMessage((message) => server.send(String(message).replace(/"cursor":".../, '"cursor":"xyz')));
    });
    await stranger.reload();
    await send(21.5);
    for (const page of [device, stranger]) await page.getByText('21.5').first().waitFor(patient);
    await fleet.getByRole('row', { name: /pump/ }).getByText('21.5').waitFor(patient);

    const [ingest] = running.platform.services['ingest-ws'];
    await ingest!.kill();
    for (const page of [device, fleet, stranger]) {
      await banner(page)
        .getByText(/The live connection was lost .* ago, at \d\d:\d\d:\d\d\./)
        .waitFor(patient);
      await banner(page).getByText('History, search and dead letters still work').waitFor();
      // The last values stay.
      await page.getByText('21.5').first().waitFor();
    }
    const said = {
      device: await watchBanner(device),
      fleet: await watchBanner(fleet),
      stranger: await watchBanner(stranger),
    };
    ingest!.start();
    await ingest!.untilReady();
    await send(33.5);
    // Presence is told as it is now; a page that holds readings one by one says that none is missing.
    const texts = async (page: keyof typeof said) => (await said[page]()).map(({ text }) => text).join('\n');
    await expect.poll(() => texts('fleet')).toContain('presence and values are those of now');
    await expect
      .poll(async () => (await said.device()).map(({ verdict }) => verdict))
      .toSatisfy((verdicts: string[]) => verdicts.some((one) => one === 'resumed' || one === 'resumed-edge-ended'));
    await expect
      .poll(() => texts('stranger'))
      .toContain('did not know the position any more, and history was read again');
    for (const page of [device, stranger]) await page.getByText('33.5').first().waitFor(patient);
    await send(34.5);
    for (const page of [device, fleet, stranger]) {
      await page.getByText('34.5').first().waitFor(patient);
      await banner(page).waitFor({ ...patient, state: 'detached' });
      expect(await page.locator('.livebadge').textContent()).toBe('Live');
    }
    expectOutagesOnly();
  });

  it('while query-api is stopped keeps what it has received, says so, and goes on by itself', async () => {
    await send(34.5);
    const page = await open({ path: '/?q=pump&metric=celsius', subject: 'api-page' });
    const row = page.getByRole('row', { name: /pump/ });
    await row.getByText('34.5').waitFor(patient);
    const [api] = running.platform.services['query-api'];
    await api!.kill();
    await banner(page)
      .getByText(/The API does not answer since \d\d:\d\d:\d\d/)
      .waitFor(patient);
    await row.getByText('34.5').waitFor();
    expect(await page.locator('h1').textContent()).not.toBe('');
    api!.start();
    await api!.untilReady();
    await banner(page).waitFor({ ...patient, state: 'detached' });
    expectOutagesOnly();
  });
});
