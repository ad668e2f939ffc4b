import { text } from 'node:stream/consumers';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import pg from 'pg';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { type Device, call, connectDevice } from './device-client.ts';
import { keys, openDashboard, tabTo, withoutBrowser } from './dashboard.ts';

const deviceId = 'dev-chart';
const bucketMs = 2_000;

interface SeriesAnswer {
  readonly t: readonly number[];
  readonly series: readonly {
    readonly avg: readonly (number | null)[];
    readonly min: readonly (number | null)[];
    readonly max: readonly (number | null)[];
  }[];
}

describe.skipIf(withoutBrowser)('Device', () => {
  let device: Device;
  let sent = 0;
  const send = async (value = Math.sin((sent += 1))) =>
    device.send({ temperature: value, door: sent % 20 < 10 ? 'open' : 'closed' });
  beforeAll(async () => {
    await call('POST', '/devices', {
      deviceId,
      name: 'Reefer 388',
      type: 'truck',
      tags: ['depot:porto'],
      expectedIntervalMs: 1_000,
      metadata: { units: { temperature: '°C' }, limits: { temperature: { above: 0.9 } } },
    });
    device = await connectDevice(deviceId);
    const now = Date.now();
    for (let index = 0; index < 300; index += 1)
      await device.send({ temperature: Math.sin((sent += 1)), door: 'closed' }, now - (600 - index) * 1_000);
    // Numbers 301 to 340 never arrive.
    device.skip(40);
    for (let index = 0; index < 250; index += 1)
      await device.send({ temperature: Math.sin((sent += 1)), door: 'open' }, now - (260 - index) * 1_000);
    return () => device.close();
  });

  it('draws history and live readings as one series, which is that of the database', async () => {
    const { page } = await openDashboard({
      role: 'operator',
      subject: 'dev-seam',
      path: `/devices/${deviceId}?from=now-15m&metrics=temperature&tab=table`,
    });
    await page.getByRole('grid', { name: /Table of/ }).waitFor();
    for (let index = 0; index < 30; index += 1) await send();
    await send(3.5);
    await page.getByRole('heading', { level: 1, name: /3\.5 °C/ }).waitFor();
    const sentAt = Date.now();
    // What the page shows once the buckets of these readings are over. History that is asked again after a minute would hide what the live stream lacks.
    const rows = await eventually(
      async () => {
        const [download] = await Promise.all([
          page.waitForEvent('download'),
          page.getByRole('tabpanel').getByRole('button', { name: 'CSV' }).click(),
        ]);
        const lines = (await text(await download.createReadStream())).trim().split('\r\n').slice(1);
        const found = lines.map((line) => line.split(','));
        expect(Date.parse(found.at(-2)![0]!)).toBeGreaterThan(sentAt);
        return found;
      },
      { intervalMs: 500 },
    );
    const shown = new Map(
      rows.map(([time, ...values]) => [
        Date.parse(time!),
        values.map((value) => (value === '' ? null : Number(value))),
      ]),
    );
    const search = new URLSearchParams({
      metrics: 'temperature',
      agg: 'avg,min,max',
      interval: `${bucketMs / 1_000}s`,
      fill: 'null',
      from: rows[1]![0]!,
      to: rows.at(-2)![0]!,
    });
    await eventually(async () => {
      const answer = await call<SeriesAnswer>('GET', `/devices/${deviceId}/series?${search}`);
      const [series] = answer.series;
      expect(answer.t.length).toBeGreaterThan(400);
      for (const [index, at] of answer.t.entries()) {
        const own = shown.get(at);
        const stored = [series!.avg[index]!, series!.min[index]!, series!.max[index]!];
        if (stored[0] === null) expect(own, new Date(at).toISOString()).toEqual([null, null, null]);
        else
          for (const [place, value] of stored.entries())
            expect(own![place], new Date(at).toISOString()).toBeCloseTo(value, 9);
      }
    });
  });

  it('while it is paused stays where it is, is not asked again as time goes on, and counts what comes', async () => {
    const { page } = await openDashboard({
      role: 'operator',
      subject: 'dev-pause',
      path: `/devices/${deviceId}?from=now-5m&metrics=temperature`,
    });
    await page.getByRole('application', { name: /temperature/ }).waitFor();
    const asked: { readonly from: number; readonly to: number }[] = [];
    page.on('request', (request) => {
      const { pathname, searchParams } = new URL(request.url());
      const [from, to] = [searchParams.get('from'), searchParams.get('to')];
      const isOfChart = pathname.endsWith('/series') && searchParams.has('interval');
      if (isOfChart && from !== null && to !== null) asked.push({ from: Date.parse(from), to: Date.parse(to) });
    });
    await page.getByRole('button', { name: 'Pause live' }).click();
    const pausedBefore = Date.now();
    // History of the range that is shown: what is asked for later would be of another one.
    await eventually(() => expect(asked).toHaveLength(1));
    expect(asked[0]!.to).toBeLessThanOrEqual(pausedBefore);
    expect(asked[0]!.to - asked[0]!.from).toBe(5 * 60_000);
    for (let index = 0; index < 3; index += 1) await send();
    await page.getByText('Go on (3 new)').waitFor();
    await page.getByRole('button', { name: 'Go on live' }).click();
    await eventually(() => expect(asked.at(-1)!.to).toBeGreaterThan(pausedBefore));
  });

  it('tells how many readings never arrived, and where', async () => {
    const { page } = await openDashboard({
      role: 'analyst',
      subject: 'dev-gaps',
      path: `/devices/${deviceId}?from=now-15m&metrics=temperature&tab=gaps`,
    });
    await page
      .getByRole('tabpanel')
      .getByRole('row', { name: /301.*340.*40/ })
      .waitFor();
    await page.getByText('seq 301–340 of dev-chart-boot never arrived').first().waitFor({ state: 'attached' });
    expect(await page.getByRole('row', { name: 'missing 40' }).count()).toBeGreaterThan(0);
  });

  it('moves the cursor of the chart by keys and reads it out; T opens the table at the same bucket', async () => {
    const { page } = await openDashboard({
      role: 'analyst',
      subject: 'dev-keys',
      path: `/devices/${deviceId}?from=now-15m&metrics=temperature`,
    });
    const chart = page.getByRole('application', { name: /temperature of dev-chart/ });
    await chart.waitFor();
    await eventually(async () =>
      expect(await chart.getAttribute('aria-label')).toMatch(/temperature from −.* to .*°C/),
    );
    await chart.focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('n');
    const spoken = chart.locator('[aria-live]');
    await eventually(async () => expect(await spoken.textContent()).toMatch(/^\d\d:\d\d:\d\d, temperature/));
    const said = (await spoken.textContent())!;
    await page.keyboard.press('T');
    const selected = page.getByRole('grid', { name: /Table of/ }).locator('[aria-selected="true"]');
    await page.getByRole('grid', { name: /Table of/ }).waitFor();
    await selected
      .first()
      .scrollIntoViewIfNeeded()
      .catch(() => {});
    expect(said.slice(0, 8)).toMatch(/^\d\d:\d\d:\d\d$/);
    await page.keyboard.press('4');
    await eventually(() => expect(new URL(page.url()).searchParams.get('from')).toBe('now-24h'));
    await page.keyboard.press('r');
    await page.keyboard.type('now-3y');
    // The page draws itself again each second: what is typed stays.
    const clock = page.locator('.clock');
    const before = await clock.textContent();
    await eventually(async () => expect(await clock.textContent()).not.toBe(before));
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('allowed are now, now-6h').waitFor();
  });

  it('keeps the values under the cursor where a click or Enter pins them, until they are released', async () => {
    const { page, violations } = await openDashboard({
      role: 'analyst',
      subject: 'dev-pin',
      path: `/devices/${deviceId}?from=now-15m&metrics=temperature`,
    });
    const chart = page.getByRole('application', { name: /temperature of dev-chart/ });
    const plot = chart.locator('.u-over');
    await plot.waitFor();
    const readOut = chart.locator('.readout');
    const time = readOut.locator('b').first();
    const pointTo = async (share: number) => {
      const box = (await plot.boundingBox())!;
      await page.mouse.move(box.x + box.width * share, box.y + box.height / 2);
    };
    const pinned = readOut.getByText('Pinned. Click again or Esc to release.');
    await pointTo(0.5);
    await time.waitFor();
    await page.mouse.down();
    await page.mouse.up();
    await pinned.waitFor();
    const held = await time.textContent();
    await pointTo(0.8);
    await page.locator('.bandsvg').hover();
    await page.getByRole('heading', { level: 1 }).hover();
    expect(await time.textContent()).toBe(held);
    expect(await violations()).toEqual([]);
    await pointTo(0.8);
    await page.mouse.down();
    await page.mouse.up();
    await pinned.waitFor({ state: 'detached' });
    await pointTo(0.7);
    await eventually(async () => expect(await time.textContent()).not.toBe(held));
    await chart.focus();
    await page.keyboard.press('End');
    for (let tens = 0; tens < 5; tens += 1) await page.keyboard.press('Shift+ArrowLeft');
    await page.keyboard.press('Enter');
    await pinned.waitFor();
    await eventually(async () => expect(await chart.locator('[aria-live]').textContent()).toMatch(/, pinned$/));
    const first = await time.textContent();
    await pointTo(0.4);
    expect(await time.textContent()).toBe(first);
    await page.keyboard.press('Escape');
    await readOut.waitFor({ state: 'detached' });
  });

  it('is found, looked at and commanded by keys alone', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'dev-typing' });
    await page.locator('.vrow').first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type(deviceId);
    await page.locator('.found').getByText(deviceId).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: /Reefer 388/ }).waitFor();
    const chart = page.getByRole('application', { name: /temperature of dev-chart/ });
    await chart.waitFor();
    await tabTo(page, chart);
    await page.keyboard.press('End');
    await eventually(async () =>
      expect(await chart.locator('[aria-live]').textContent()).toMatch(/^\d\d:\d\d:\d\d, temperature/),
    );
    await page.keyboard.press('Space');
    await page.getByRole('button', { name: 'Go on live' }).waitFor();
    await tabTo(page, page.getByLabel('Command and arguments'));
    await page.keyboard.type('locate');
    await page.keyboard.press('Enter');
    await page.getByText(/locate: succeeded/).waitFor();
  });

  it('is printed with its range, the table of each chart, and without what is clicked', async () => {
    const { page } = await openDashboard({
      role: 'operator',
      subject: 'dev-paper',
      path: `/devices/${deviceId}?from=now-15m&metrics=temperature`,
      colorScheme: 'dark',
    });
    await page.getByRole('application', { name: /temperature of dev-chart/ }).waitFor();
    expect(await page.locator('.printed').count()).toBe(0);
    await page.emulateMedia({ media: 'print' });
    const printed = page.locator('.printed');
    await printed.first().waitFor();
    expect(await printed.count()).toBe(await page.locator('.uplot').count());
    expect(await printed.first().locator('caption').textContent()).toMatch(
      /temperature of dev-chart, .*–.*UTC\+1.*; printed .*; the first 40 of \d+ rows/,
    );
    expect(await printed.first().locator('tbody tr').count()).toBe(40);
    for (const control of ['.btn', 'input', 'select', 'form', '[role=tab]', '.top', '.wire'])
      expect(await page.locator(`${control}:visible`).count(), control).toBe(0);
    // Paper is white, also where the page is dark.
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)).toBe(
      'rgb(251, 251, 249)',
    );
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    await page.emulateMedia({ media: 'screen' });
    await eventually(async () => expect(await printed.count()).toBe(0));
  });

  it('tells which readings came late, because the device was not connected, from those that are missing', async () => {
    const late = await connectDevice('dev-late');
    await late.send({ temperature: 1 });
    await late.close();
    const closedAt = Date.now();
    await eventually(() => expect(Date.now() - closedAt).toBeGreaterThan(7_000), { timeoutMs: 60_000 });
    const again = await connectDevice('dev-late', undefined, 'dev-late-boot', 1);
    // Kept while it was away.
    for (let index = 0; index < 6; index += 1) await again.send({ temperature: index }, closedAt + 2_500 + index * 300);
    const { page } = await openDashboard({
      role: 'analyst',
      subject: 'dev-late',
      path: '/devices/dev-late?from=now-15m&metrics=temperature',
    });
    await page.getByText('6 readings came late, all stored').first().waitFor({ state: 'attached' });
    expect(await page.getByText('never arrived').count()).toBe(0);
    await again.close();
  });

  it('sends a command and shows its result', async () => {
    const { page } = await openDashboard({ role: 'operator', subject: 'dev-command', path: `/devices/${deviceId}` });
    await page.getByLabel('Command and arguments').fill('set-point -18');
    await page.getByRole('button', { name: 'Send now' }).click();
    await page.getByText(/set-point -18: succeeded/).waitFor();
    await page.getByRole('tab', { name: /Commands/ }).click();
    const row = page
      .getByRole('tabpanel')
      .getByRole('row', { name: /succeeded set-point -18/ })
      .first();
    await row.waitFor();
    expect(await row.textContent()).toContain('"did":"set-point"');
  });

  it('keeps a command for a device that is offline, and shows the result once it is back', async () => {
    const offline = await connectDevice('dev-asleep');
    await offline.send({ temperature: 1 });
    await offline.close();
    const { page } = await openDashboard({ role: 'operator', subject: 'dev-asleep', path: '/devices/dev-asleep' });
    await page.getByText('offline').first().waitFor();
    await page.getByRole('button', { name: 'Deliver when online' }).click();
    await page.getByLabel('Command and arguments').fill('open-vent 2');
    await page.getByRole('button', { name: 'Queue', exact: true }).click();
    await page.getByRole('status').filter({ hasText: 'open-vent 2: ' }).waitFor();
    const row = page.getByRole('row', { name: /open-vent 2/ });
    await row.first().waitFor();
    expect(await page.getByRole('row', { name: /succeeded open-vent 2/ }).count()).toBe(0);
    const back = await connectDevice('dev-asleep');
    await page
      .getByRole('row', { name: /succeeded open-vent 2/ })
      .first()
      .waitFor();
    await page.getByRole('button', { name: 'Send now instead' }).click();
    await page.getByRole('button', { name: 'Send now', exact: true }).waitFor();
    await back.close();
  });

  it('an analyst sees no commands to send; a device that does not exist is named', async () => {
    const { page, takeErrors } = await openDashboard({
      role: 'analyst',
      subject: 'dev-analyst',
      path: `/devices/${deviceId}`,
    });
    await page.getByRole('heading', { level: 1, name: /Reefer 388/ }).waitFor();
    expect(await page.getByRole('button', { name: 'Send now' }).count()).toBe(0);
    expect(await page.getByRole('button', { name: 'Edit' }).count()).toBe(0);
    await page.goto('/devices/no-such-device');
    await page.getByRole('heading', { level: 1, name: 'There is no device no-such-device.' }).waitFor();
    expect(takeErrors().every((text) => text.includes('404'))).toBe(true);
  });

  describe('with several metrics', () => {
    const path = '/devices/dev-more?from=now-15m';
    const count = 120;
    let more: Device;
    beforeAll(async () => {
      await call('POST', '/devices', {
        deviceId: 'dev-more',
        expectedIntervalMs: 5_000,
        metadata: { units: { air: '°C', goods: '°C' }, limits: { air: { above: 8 } }, timeZone: 'Asia/Tokyo' },
      });
      more = await connectDevice('dev-more');
      const began = Date.now() - 11 * 60_000;
      for (let index = 0; index < count; index += 1) {
        // Above the limit in the second half.
        const isLate = index >= count / 2;
        await more.send(
          { air: isLate ? 10 : 4, goods: -3, humidity: 60, door: isLate ? 'open' : 'closed', lit: isLate },
          began + index * 5_000,
        );
      }
      return () => more.close();
    });

    it('draws metrics of one unit together, the limit as an event, and booleans and texts as bands; metrics are removed and added', async () => {
      const { page } = await openDashboard({ role: 'analyst', subject: 'more-metrics', path });
      const chart = page.getByRole('application', { name: /^air, goods of dev-more/ });
      await chart.waitFor();
      await page.getByRole('application', { name: /^humidity of dev-more/ }).waitFor();
      const bands = page.getByRole('img', { name: /^State bands\..*door: 2 changes\. lit: 2 changes/ });
      await bands.waitFor();
      const texts = await bands.locator('title').allTextContents();
      expect(texts).toEqual(expect.arrayContaining(['closed', 'open', 'false', 'true', 'dev-more-boot']));
      await chart.focus();
      await page.keyboard.press('Home');
      await page.keyboard.press('n');
      await eventually(async () =>
        expect(await chart.locator('[aria-live]').textContent()).toMatch(/above limit 8\s°C.*air crosses limit 8\s°C/),
      );
      // It stays at its time while the range moves on, and nothing else is read out.
      const [said, range] = [await chart.locator('[aria-live]').textContent(), await chart.getAttribute('aria-label')];
      await eventually(async () => expect(await chart.getAttribute('aria-label')).not.toBe(range));
      expect(await chart.locator('[aria-live]').textContent()).toBe(said);
      await page.getByRole('button', { name: 'goods: remove from the chart' }).click();
      await page.getByRole('application', { name: /^air of dev-more/ }).waitFor();
      await eventually(() => expect(new URL(page.url()).searchParams.get('metrics')).toBe('air,humidity'));
      await page.getByLabel(/^Add a metric/).selectOption('goods');
      await chart.waitFor();
      // The address is written after a moment of rest.
      await eventually(() => expect(new URL(page.url()).searchParams.get('metrics')).toBe('air,humidity,goods'));
      await page.reload();
      await chart.waitFor();
    });

    it('the range is zoomed by a drag, goes back by a key, is typed, and returns to live', async () => {
      const { page } = await openDashboard({ role: 'analyst', subject: 'more-ranges', path });
      const chart = page.getByRole('application', { name: /^air, goods of dev-more/ });
      await chart.waitFor();
      const from = () => new URL(page.url()).searchParams.get('from');
      const { x, y, width, height } = (await chart.locator('.u-over').boundingBox())!;
      await page.mouse.move(x + width * 0.4, y + height / 2);
      await page.mouse.down();
      await page.mouse.move(x + width * 0.6, y + height / 2, { steps: 4 });
      await page.mouse.up();
      await eventually(() => expect(from()).toMatch(/^\d{4}-.*Z$/));
      const zoomed = new URL(page.url()).searchParams;
      const minutes = (Date.parse(zoomed.get('to')!) - Date.parse(zoomed.get('from')!)) / 60_000;
      expect(minutes).toBeGreaterThan(2.5);
      expect(minutes).toBeLessThan(3.5);
      await page.getByRole('button', { name: 'Back to live' }).waitFor();
      await page.keyboard.press('z');
      await eventually(() => expect(from()).toBe('now-15m'));
      const range = () => {
        const { from, to } = Object.fromEntries(new URL(page.url()).searchParams) as Record<string, string>;
        return { from: Date.parse(from!), to: Date.parse(to!) };
      };
      // Ctrl with the wheel, in the middle.
      await page.mouse.move(x + width * 0.5, y + height / 2);
      await page.keyboard.down('Control');
      await page.mouse.wheel(0, -100);
      await page.keyboard.up('Control');
      await eventually(() => expect((range().to - range().from) / 60_000).toBeCloseTo(12, 0));
      await page.getByRole('button', { name: 'Back to live' }).waitFor();
      const still = range();
      // Shift with a drag to the right, by a fifth of the width.
      await page.keyboard.down('Shift');
      await page.mouse.down();
      await page.mouse.move(x + width * 0.7, y + height / 2, { steps: 5 });
      await page.mouse.up();
      await page.keyboard.up('Shift');
      await eventually(() => {
        const panned = range();
        expect((panned.to - panned.from) / 60_000).toBeCloseTo(12, 0);
        const fifth = (still.to - still.from) / 5;
        expect(Math.abs(still.from - panned.from - fifth)).toBeLessThan(fifth / 4);
      });
      await page.getByLabel('From', { exact: true }).fill('now-6h');
      await page.keyboard.press('Enter');
      await eventually(() => expect(from()).toBe('now-6h'));
      await page
        .getByText(/\d\d:\d\d–.*CET \(UTC\+1\)|\d\d:\d\d–.*UTC\+1/)
        .first()
        .waitFor();
      await page.getByLabel('To', { exact: true }).fill('now-1h');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Back to live' }).click();
      await page.getByRole('button', { name: 'Pause live' }).waitFor();
    });

    it('times are in the zone of the browser, of the device or UTC, and stay so for the next visit', async () => {
      const { page } = await openDashboard({ role: 'analyst', subject: 'more-zones', path });
      const ranged = (text: string) => page.getByText(`–`).getByText(text).first();
      const choose = async (text: string): Promise<void> => {
        await page.getByRole('button', { name: /more-zones/ }).click();
        await page.getByRole('button', { name: text }).click();
        await page.keyboard.press('Escape');
      };
      await ranged('UTC+1').waitFor();
      await choose('Times in Asia/Tokyo, of this device');
      await ranged('UTC+9').waitFor();
      const tokyo = new Intl.DateTimeFormat('en-GB', { timeZone: 'Asia/Tokyo', hour: '2-digit', minute: '2-digit' });
      const hours = [0, 12 * 60_000].map((ago) => tokyo.format(Date.now() - ago).slice(0, 2));
      await page.getByRole('tab', { name: /Readings/ }).click();
      const newest = page.getByRole('tabpanel').locator('tbody tr').first();
      await eventually(async () =>
        expect(await newest.textContent()).toMatch(new RegExp(`^(.* )?(${hours.join('|')}):\\d\\d`)),
      );
      await page.reload();
      await ranged('UTC+9').waitFor();
      await choose('Times in UTC');
      const inUtc = page.getByText(/–.*\d\d:\d\d UTC$/);
      await inUtc.waitFor();
      await page.reload();
      await inUtc.waitFor();
      await choose('Times in Europe/Paris');
      await ranged('UTC+1').waitFor();
    });

    it('while it is paused the charts stand still and new readings are counted', async () => {
      const { page } = await openDashboard({ role: 'analyst', subject: 'more-paused', path });
      const chart = page.getByRole('application', { name: /air from 4 to 10 °C/ });
      await chart.waitFor();
      await page.getByRole('button', { name: 'Pause live' }).click();
      const go = page.getByRole('button', { name: 'Go on live' });
      const sentAt = Date.now();
      await eventually(
        async () => {
          await more.send({ air: 55, goods: -3, humidity: 60, door: 'open', lit: true });
          expect(await go.textContent()).toMatch(/\([1-9]\d* new\)/);
        },
        { intervalMs: 500 },
      );
      // Values of now are beside the chart, which ends before them.
      await page.getByRole('row', { name: /air 55/ }).waitFor();
      expect(await chart.count()).toBe(1);
      const clock = page.locator('.clock');
      const before = await clock.textContent();
      await eventually(async () => expect(await clock.textContent()).not.toBe(before));
      expect(await chart.count()).toBe(1);
      expect(Date.now()).toBeGreaterThan(sentAt);
      await go.click();
      await page.getByRole('application', { name: /air from 4 to 55 °C/ }).waitFor();
    });

    it('gives raw readings page by page, and the question of the chart for curl and SQL, which answer it', async () => {
      const { page, context } = await openDashboard({
        role: 'analyst',
        subject: 'more-pages',
        path: `${path}&metrics=humidity&tab=readings`,
      });
      await context.grantPermissions(['clipboard-read', 'clipboard-write']);
      await page.getByRole('application', { name: /^humidity of dev-more/ }).waitFor();
      const table = page.getByRole('region', { name: 'Readings' });
      const older = page.getByRole('button', { name: 'Older readings' });
      for (;;) {
        const shown = await table.locator('tbody tr').count();
        await older.click();
        await eventually(async () => expect(await table.locator('tbody tr').count()).toBeGreaterThan(shown));
        await page.getByRole('button', { name: /^(Older|No older) readings/ }).waitFor();
        if ((await page.getByRole('button', { name: 'No older readings in this range' }).count()) > 0) break;
      }
      const numbers = await table.locator('tbody tr td:nth-last-child(3)').allTextContents();
      expect(new Set(numbers).size).toBe(numbers.length);
      for (let seq = 1; seq <= count; seq += 1) expect(numbers).toContain(String(seq));

      const copied = async (tool: string) => {
        await page.getByLabel('Copy what is shown as').selectOption(tool);
        await page.getByText(`${tool} copied`).waitFor();
        return page.evaluate(() => navigator.clipboard.readText());
      };
      const [, address] = /'(http.*)'/.exec(await copied('curl'))!;
      const authorization = `Bearer ${await keys.token('by-hand', 'analyst')}`;
      const answer = (await (await fetch(address!, { headers: { authorization } })).json()) as SeriesAnswer;
      expect(answer.series[0]!.avg.filter((value) => value === 60).length).toBeGreaterThan(20);
      const client = new pg.Client({ connectionString: inject('databaseUrl') });
      cleanUp(() => client.end());
      await client.connect();
      const { rows } = await client.query<{ metric: string; avg: number }>(await copied('SQL'));
      expect(rows.length).toBeGreaterThan(20);
      expect(rows.every(({ metric, avg }) => metric === 'humidity' && avg === 60)).toBe(true);
    });
  });

  it.each(['light', 'dark'] as const)(
    'has no violation of WCAG 2.2 AA in %s, on the desktop and on the phone, and scrolls to no side',
    async (colorScheme) => {
      for (const viewport of [
        { width: 1_440, height: 1_000 },
        { width: 390, height: 844 },
      ]) {
        const { page, violations } = await openDashboard({
          role: 'admin',
          subject: 'dev-axe',
          path: `/devices/${deviceId}?from=now-15m&tab=commands`,
          colorScheme,
          viewport,
        });
        await page.getByRole('application', { name: /temperature/ }).waitFor();
        expect(await violations()).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      }
    },
  );

  it('an address that no id can be read from says how a % is written, and leads on', async () => {
    // An id whose bytes are no text; a single % is refused by nginx, with the same advice.
    const { page } = await openDashboard({ role: 'analyst', subject: 'dev-address', path: '/devices/%FF' });
    await page
      .getByRole('heading', { name: 'The address /devices/%FF cannot be read: a % in an id is written %25.' })
      .waitFor();
    await page.getByRole('main').getByRole('link', { name: 'Fleet' }).click();
    await page.getByRole('grid', { name: 'Devices' }).waitFor();
    const answer = await page.request.get('/devices/%');
    expect([answer.status(), await answer.json()]).toMatchObject([400, { detail: expect.stringContaining('%25') }]);
  });
});
