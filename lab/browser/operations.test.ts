import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import { envelopeType } from '@fleetwire/contracts/envelope';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { createLogger } from '@fleetwire/runtime/logger';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { type Database, openDatabase } from '@fleetwire/store/database';
import { envelope, readings } from '../e2e/dead-letter-platform.ts';
import { type DashboardOptions, openDashboard, withoutBrowser } from './dashboard.ts';
import { type BrowserPlatform, startBrowserPlatform } from './platform.ts';

/** The browser shows what the server says within this time, also on a busy machine. */
const patient = { timeout: 60_000 };

describe.skipIf(withoutBrowser)('operations', () => {
  let running: BrowserPlatform;
  let publish: (content: Buffer) => Promise<unknown>;
  let database: Database;

  beforeAll(async () => {
    await using started = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'fleetwire-operations-'));
    started.defer(() => rmSync(folder, { recursive: true, force: true }));
    const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
    running = started.use(
      await startBrowserPlatform({ amqpUrl, databaseUrl, managementUrl: inject('managementUrl'), folder }),
    );
    const bounds = { poolMax: 1, statementTimeoutMs: 30_000, applicationName: 'test' };
    database = started.adopt(openDatabase({ databaseUrl, ...bounds }), (one) => one.close());
    const logger = await createLogger({ name: 'test', level: 'silent' });
    const connection = openBrokerConnection({ url: amqpUrl, name: 'test', logger });
    const limits = { messagesInFlightMax: 100, bytesInFlightMax: 1e9, confirmTimeoutMs: 10_000 };
    const publisher = createPublisher(connection, { logger, ...limits });
    started.defer(async () => {
      await publisher.close();
      await connection.close();
    });
    await publisher.whenWritable();
    publish = (content) =>
      publisher.publish({
        exchange: exchanges.telemetry,
        routingKey: routingKeys.persist,
        messageId: randomUUID(),
        type: envelopeType,
        headers: {},
        content,
      });
    const resources = started.move();
    return () => resources.disposeAsync();
  }, 120_000);

  const open = (options: DashboardOptions) =>
    openDashboard({ at: { url: running.url, keys: running.platform.keys }, role: 'operator', ...options });

  async function answer<Answer>(path: string): Promise<Answer> {
    const authorization = `Bearer ${await running.platform.keys.token('test', 'admin')}`;
    return (await (await fetch(`${running.url}/api/v1${path}`, { headers: { authorization } })).json()) as Answer;
  }

  const isNarrow = (page: Page) =>
    page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);

  it('Pipeline shows the real depth of the queue while the worker is stopped, and that it drains afterwards', async () => {
    const { page, violations } = await open({ path: '/pipeline' });
    const heading = page.getByRole('heading', { level: 1 });
    await page.locator('.pipe [aria-label="the queue is empty."]').waitFor(patient);
    const [worker] = running.platform.services['persistence-worker'];
    await worker!.stop();
    // The tests after this one need it also where this one fails.
    cleanUp(() => worker!.start());
    for (let message = 0; message < 7; message += 1) await publish(envelope(readings(`deep-${message}`, 5, { a: 1 })));
    await heading.filter({ hasText: 'No worker takes readings from the queue.' }).waitFor(patient);
    const depthIsShown = async () => {
      const { data } = await answer<{ data: { name: string; ready: number; readingsEstimate: number | null }[] }>(
        '/queues',
      );
      const queue = data.find(({ name }) => name === 'telemetry.persist')!;
      // ingest-ws publishes its reports to the same queue, one every 5 s.
      expect(queue.ready).toBeGreaterThanOrEqual(7);
      expect(await page.locator('.pipe .vessel ~ text .big').textContent()).toBe(
        String(queue.readingsEstimate ?? queue.ready),
      );
    };
    // RATE_LIMIT_PER_MINUTE applies.
    await eventually(depthIsShown, { intervalMs: 1_000 });
    // Behind the queue nothing flows, and nothing moves.
    const workers = page.locator('.pipe .part[aria-label^="0 workers"]');
    await workers.waitFor({ ...patient, state: 'attached' });
    await eventually(async () => expect(await workers.locator('.flow, .flowline').count()).toBe(0));
    expect(await violations()).toEqual([]);

    worker!.start();
    await page.locator('.pipe [aria-label="the queue is empty."]').waitFor(patient);
    await heading.filter({ hasText: 'There is no bottleneck' }).waitFor(patient);
  });

  it('Pipeline is reached by keys stage by stage, and is a list on the phone', async () => {
    const { page, violations } = await open({ path: '/pipeline', colorScheme: 'dark', reducedMotion: 'reduce' });
    const stages = page.locator('.pipe .part');
    await stages.first().waitFor(patient);
    await stages.first().focus();
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? '');
    expect(await focused()).toMatch(/devices/i);
    await page.keyboard.press('Tab');
    expect(await focused()).toMatch(/^ingest, /);
    await page.getByRole('table', { name: 'Accounting, last hour' }).waitFor(patient);
    expect(await violations()).toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    await page.locator('.vpipe').getByText('the queue is empty').waitFor(patient);
    expect(await page.locator('.pipe').isVisible()).toBe(false);
    expect(await isNarrow(page)).toBe(true);
  });

  it('a dead letter is repaired, counted by a dry run, and replayed by clicks until it is stored', async () => {
    await publish(envelope(readings('frz-1', 1)));
    const { page, violations } = await open({ path: '/dead-letters' });
    await page.getByRole('button', { name: /22P05/ }).click(patient);
    await page.getByRole('row').filter({ hasText: 'frz-1' }).first().click(patient);
    await page.locator('mark', { hasText: String.raw`\u0000` }).waitFor(patient);
    const copy = page.getByRole('textbox', { name: 'The copy' });
    const text = await copy.inputValue();
    const send = page.getByRole('button', { name: 'Replay edited copy' });
    await copy.fill(text.replace('{', '{"seq": 7,'));
    await page.getByText('seq identifies the reading and cannot be changed').waitFor();
    expect(await send.isDisabled()).toBe(true);
    await copy.fill(text.replace(String.raw`\u0000`, ''));
    await page.getByText('Valid reading').waitFor();
    expect(await page.locator('.diff .del, .diff .add').allTextContents()).toEqual([
      expect.stringContaining(String.raw`"a\u0000b"`),
      expect.stringContaining('"ab"'),
    ]);
    expect(await violations()).toEqual([]);
    await page.getByRole('button', { name: 'Dry run', exact: true }).click();
    await page.getByText('Dry run: 1 reading would be published; nothing was.').waitFor(patient);
    await send.click();
    await page.getByRole('img', { name: '1 of 1 published, 1 stored' }).waitFor(patient);
    await page.locator('.letter .tag', { hasText: 'stored' }).waitFor(patient);
    await page.getByRole('tab', { name: /^History/ }).click();
    await page
      .getByRole('tabpanel')
      .getByRole('row', { name: /operator/ })
      .first()
      .waitFor(patient);
    const stored = await answer<{ data: { metrics: unknown }[] }>('/devices/frz-1/readings');
    expect(stored.data.map(({ metrics }) => metrics)).toEqual([{ text: 'ab' }]);
  });

  it('a frozen set is replayed; what fails again leaves the bar empty, and the trail names who did it', async () => {
    await publish(envelope(readings('frz-2', 2)));
    const { page, violations } = await open({ path: '/dead-letters', subject: 'olga', colorScheme: 'dark' });
    await page.getByRole('img', { name: /^Dead letters by time of failure: [1-9]\d* since/ }).waitFor(patient);
    await page.getByRole('button', { name: 'Table', exact: true }).click();
    await page
      .getByRole('region', { name: 'Failures over time' })
      .getByRole('row', { name: /\d\d:\d\d:\d\d [1-9]\d* \d+/ })
      .waitFor(patient);
    await page.getByRole('button', { name: 'Freeze 2 and dry run' }).click(patient);
    await page.getByRole('status').filter({ hasText: '2 would be published' }).waitFor(patient);
    expect(await violations()).toEqual([]);
    await page.getByRole('button', { name: 'Replay the frozen 2' }).click();
    await page.getByText('2 failed again').waitFor(patient);
    await page.getByRole('img', { name: '2 of 2 published, 0 stored' }).waitFor(patient);
    const trail = page.locator('table', { hasText: 'replay of group 22P05' });
    await trail.getByText('olga').first().waitFor(patient);
  });

  it('a dead letter is discarded with a reason, and restored, by keys alone', async () => {
    const { page, violations } = await open({ path: '/dead-letters' });
    const grid = page.getByRole('grid', { name: 'Letters' });
    await grid.getByRole('row').filter({ hasText: 'frz-2' }).first().waitFor(patient);
    const decide = async (button: string, reason: string) => {
      await grid.getByRole('row').filter({ hasText: 'frz-2' }).first().focus();
      await page.keyboard.press('Enter');
      const opener = page.getByRole('button', { name: `${button}…`, exact: true });
      await opener.waitFor(patient);
      await opener.focus();
      await page.keyboard.press('Enter');
      await page.getByRole('textbox', { name: 'Reason' }).focus();
      expect(await violations()).toEqual([]);
      await page.keyboard.type(reason);
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
    };
    await decide('Discard', 'a test bench');
    await page.locator('.letter .tag', { hasText: 'discarded' }).waitFor(patient);
    const filter = page.getByRole('button', { name: 'discarded 1', exact: true });
    await filter.waitFor(patient);
    await filter.focus();
    await page.keyboard.press('Enter');
    await decide('Restore', 'it was right');
    await page.getByRole('button', { name: 'discarded 0', exact: true }).waitFor(patient);
    await page.getByText('discarded 1: “a test bench”').first().waitFor(patient);
    await page.locator('.letter .tag', { hasText: 'open' }).waitFor(patient);
  });

  it('a whole group is discarded and restored by clicks; what fails after the question was asked stays open', async () => {
    const { page } = await open({ path: '/dead-letters', subject: 'group' });
    await page.getByRole('button', { name: /22P05/ }).click(patient);
    const decide = async (button: string, reason: string, meanwhile = async () => {}) => {
      await page.getByRole('button', { name: `${button} group…` }).click(patient);
      await page.getByRole('textbox', { name: 'Reason' }).fill(reason);
      await meanwhile();
      await page.getByRole('dialog').getByRole('button', { name: button, exact: true }).click();
      await page.getByRole('dialog').waitFor({ ...patient, state: 'detached' });
    };
    const lettersOf = async (deviceId: string, status: string) =>
      (await answer<{ data: unknown[] }>(`/dead-letters?deviceId=${deviceId}&status=${status}`)).data.length;
    const before = await lettersOf('frz-2', 'open');
    expect(before).toBeGreaterThan(0);
    await decide('Discard', 'a bad release', async () => {
      await publish(envelope(readings('frz-4', 1)));
      await eventually(async () => expect(await lettersOf('frz-4', 'open')).toBe(1), { intervalMs: 1_000 });
    });
    await page.getByRole('button', { name: 'open 1', exact: true }).waitFor(patient);
    expect([await lettersOf('frz-2', 'discarded'), await lettersOf('frz-4', 'open')]).toEqual([before, 1]);
    await page.getByRole('button', { name: /^discarded [1-9]/ }).click();
    await decide('Restore', 'the readings were right');
    await page.getByRole('button', { name: 'discarded 0', exact: true }).waitFor(patient);
    expect(await lettersOf('frz-2', 'open')).toBe(before);
  });

  it('Device lists the dead letters of a device with the time and the cause of each, in a band too, and Back leads from a letter to the list', async () => {
    await publish(envelope(readings('frz-3', 1, { a: 1 })));
    await publish(envelope(readings('frz-3', 3).slice(1)));
    const failed = await eventually(
      async () => {
        expect(await answer('/devices/frz-3')).toMatchObject({ deviceId: 'frz-3' });
        const { data } = await answer<{ data: { lastFailedAt: string }[] }>('/dead-letters?deviceId=frz-3');
        expect(data).toHaveLength(2);
        return data.map(({ lastFailedAt }) => lastFailedAt);
      },
      { intervalMs: 1_000 },
    );
    const { page } = await open({ path: '/devices/frz-3?from=now-15m&tab=letters', subject: 'letters' });
    const letters = page.getByRole('tabpanel').getByRole('row', { name: /refused by database open/ });
    await letters.first().waitFor(patient);
    const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium', timeZone: 'Europe/Paris' });
    expect(await letters.getByRole('link').allTextContents()).toEqual(failed.map((at) => clock.format(new Date(at))));
    const band = page.getByRole('img', { name: /dead letters: 2 changes/ });
    const left = await band.locator('g:last-of-type rect:not(.lane)').first().getAttribute('x');
    expect(Number(left)).toBeGreaterThan(0);
    await letters.getByRole('link').first().click();
    await page.getByRole('article', { name: 'Dead letter' }).getByText('22P05').first().waitFor(patient);
    await page.goBack();
    await letters.first().waitFor(patient);
  });

  it('Pipeline lets an operator acknowledge a known kill with a reason, and keeps who did it', async () => {
    const ago = (minutes: number) => minuteOf(Date.now()) - minutes;
    await database.pool.query(
      `insert into books_edges (instance_id, reports, first_reported_at, last_reported_at, is_finished)
       values ('edge-lost', '{[1,9)}', $1, $2, false)`,
      [new Date(startOfMinute(ago(50))), new Date(startOfMinute(ago(40)))],
    );
    await database.pool.query(
      `insert into books_accepted (minute, device_id, accepted, rejected, nacked, unconfirmed)
       values ($1, 'lost', 5, 0, 0, 0)`,
      [ago(20)],
    );
    const { page, violations } = await open({ path: '/pipeline', subject: 'olga', colorScheme: 'dark' });
    const heading = page.getByRole('heading', { level: 1 });
    await heading.filter({ hasText: '5 readings of the last hour are missing' }).waitFor(patient);
    const sum = page.getByRole('table', { name: 'Accounting, last hour' });
    await sum.getByRole('row', { name: 'Missing 5' }).waitFor();
    await page.getByRole('button', { name: 'Acknowledge the kill…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Acknowledge the kill' });
    await dialog.getByText('5 missing readings').waitFor();
    await dialog.getByText(/^edge-lost sent its last report at .*, and no final one/).waitFor();
    expect(await violations()).toEqual([]);
    const button = dialog.getByRole('button', { name: 'Acknowledge' });
    expect(await button.isDisabled()).toBe(true);
    await dialog.getByRole('textbox', { name: 'Reason' }).fill('host rack-3 lost power');
    await button.click();
    await page.getByText(/readings acknowledged by olga: “host rack-3 lost power”/).waitFor(patient);
    await sum.getByRole('row', { name: 'Missing, 5 acknowledged 5' }).waitFor(patient);
    await heading.filter({ hasText: 'There is no bottleneck' }).waitFor(patient);
  });

  it('Pipeline shows every instance with version and uptime, and an alarm pending, firing and ended with its runbook', async () => {
    const { page, violations } = await open({ path: '/pipeline', subject: 'alarms' });
    const instances = page.locator('table.instances');
    for (const name of ['ingest-1', 'worker-1', 'query-api-1'])
      await instances
        .locator('tr', { hasText: name })
        .getByText(/^\d+\.\d+\.\d+$/)
        .waitFor(patient);
    for (const text of await instances.locator('tbody td:nth-child(3)').allTextContents())
      expect(text).toMatch(/^\d+\s(s|min|h)/);
    for (const text of [/^\d+ of \d+ slots busy$/, /back-pressure: none/])
      await page.locator('.pipe').getByText(text).first().waitFor(patient);
    // The depth of the queue over a day, and its table.
    await page.getByRole('group', { name: 'Range' }).getByRole('button', { name: '24 h' }).click();
    await eventually(() => expect(new URL(page.url()).searchParams.get('range')).toBe('24h'));
    await page.getByRole('application', { name: /^Depth of the queue/ }).waitFor(patient);
    await page.getByRole('button', { name: 'Table', exact: true }).click();
    await page.getByRole('grid', { name: 'Table of Queue depth' }).waitFor(patient);
    // One that ended less than 45 s ago goes on: that of the first test.
    await database.pool.query('delete from alarms');
    const [worker] = running.platform.services['persistence-worker'];
    await worker!.stop();
    cleanUp(() => worker!.start());
    const alarm = page.locator('.att li', { hasText: 'No consumers' }).filter({ hasText: 'telemetry.persist' });
    await alarm.getByText(/^pending \d/).waitFor(patient);
    await instances
      .locator('tr', { hasText: 'worker-1' })
      .getByText(/^ended/)
      .waitFor(patient);
    // It fires after a minute.
    await database.pool.query(`update alarms set started_at = now() - interval '150 seconds' where ended_at is null`);
    await alarm.getByText(/^firing \d\smin/).waitFor(patient);
    await alarm.getByText('what to do').click();
    const runbook = alarm.getByRole('link', { name: 'Runbook' });
    expect(await runbook.getAttribute('href')).toBe('/guide/docs/alarms.html#fleetwirenoconsumers');
    expect(await violations()).toEqual([]);
    worker!.start();
    await alarm.getByRole('img', { name: 'Ended' }).waitFor(patient);
    await instances.locator('tr', { hasText: 'worker-1' }).getByRole('img', { name: 'running' }).waitFor(patient);
  });

  it('Dead letters fits on a phone, and says which role it needs', async () => {
    const { page, violations } = await open({ path: '/dead-letters', viewport: { width: 390, height: 844 } });
    await page.getByRole('button', { name: /22P05/ }).waitFor(patient);
    expect(await isNarrow(page)).toBe(true);
    await page.getByRole('row').filter({ hasText: 'frz-2' }).first().click(patient);
    await page.getByRole('textbox', { name: 'The copy' }).waitFor(patient);
    expect(await isNarrow(page)).toBe(true);
    expect(await violations()).toEqual([]);
    const reader = await open({ path: '/dead-letters', role: 'analyst' });
    await reader.page
      .getByRole('heading', { name: 'Dead letters needs the role operator; this session is analyst.' })
      .waitFor(patient);
  });
});
