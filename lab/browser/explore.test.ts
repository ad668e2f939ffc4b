import { buffer } from 'node:stream/consumers';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Locator, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { holdTable } from './hold-table.ts';
import { differences } from './pictures.ts';
import { keys, openDashboard, tabTo, url, withoutBrowser } from './dashboard.ts';

const start = Date.UTC(2026, 10, 20, 12);
const range = { from: new Date(start).toISOString(), to: new Date(start + 4 * 3_600_000).toISOString() };
const selection = { pattern: 'ask-*', metrics: 'heat', ...range };
const address = `/explore?${new URLSearchParams({ pattern: 'ask-*', metrics: 'heat', agg: 'avg', groupBy: 'device', interval: '30m', ...range, tz: 'UTC' })}`;

async function call(path: string, init: RequestInit = {}, role: 'admin' | 'analyst' = 'admin'): Promise<Response> {
  const headers = {
    authorization: `Bearer ${await keys.token(`explore-${role}`, role)}`,
    'content-type': 'application/json',
  };
  return fetch(`${url}${path}`, { ...init, headers });
}

async function downloaded(page: Page, button: Locator): Promise<Buffer> {
  const [file] = await Promise.all([page.waitForEvent('download'), button.click()]);
  return buffer(await file.createReadStream());
}

/** Readings of many devices come in no particular order, and the end names its own time. */
function readingsOf(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('{"end"'))
    .toSorted();
}

interface Answer {
  readonly t: number[];
  readonly series: Record<string, unknown>[];
}

const rowsOf = (page: Page) =>
  page.getByRole('grid', { name: 'Table of the answer' }).locator('.vrow').allTextContents();

describe.skipIf(withoutBrowser)('Explore', () => {
  beforeAll(async () => {
    for (const device of ['ask-1', 'ask-2']) {
      const readings = Array.from({ length: 240 }, (_, minute) => ({
        ts: new Date(start + minute * 60_000).toISOString(),
        metrics: { heat: Math.round(100 * Math.sin(minute / 20) + (device === 'ask-1' ? 0 : 500)) / 10 },
      }));
      const answer = await call('/api/v1/telemetry', {
        method: 'POST',
        body: JSON.stringify([{ deviceId: device, readings }]),
      });
      if (answer.status !== 202) throw new Error(await answer.text());
    }
    await eventually(async () => {
      const search = new URLSearchParams({
        pattern: 'ask-*',
        metrics: 'heat',
        agg: 'count',
        groupBy: 'none',
        ...range,
      });
      const { series } = (await (await call(`/api/v1/series?${search}`)).json()) as Answer;
      if (String(series[0]?.['count']) !== '480') throw new Error('not all readings are stored');
    });
  });

  it('a question asked by keyboard shows the values of the API, and its link opens the same view', async () => {
    const { page, context } = await openDashboard({
      role: 'analyst',
      subject: 'asking',
      path: address,
      timezoneId: 'UTC',
    });
    const aggregates = page.getByRole('button', { name: /^Aggregates:/ });
    await eventually(async () => expect((await rowsOf(page)).length).toBe(8));
    await aggregates.focus();
    await page.keyboard.press('Enter');
    await page.keyboard.type('max');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await eventually(async () => expect(await aggregates.textContent()).toBe('avg, max'));
    await page.getByRole('button', { name: /^Compared with:/ }).focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.type('1h');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Control+Enter');
    await page.getByText('ask-2 max').first().waitFor();
    const asked = new URL(page.url()).searchParams;
    expect([asked.get('agg'), asked.get('offset')]).toEqual(['avg,max', '1h']);
    const { t, series } = (await (await call(`/api/v1/series?${asked}`)).json()) as Answer;
    const shown = await rowsOf(page);
    expect(shown).toHaveLength(t.length);
    const [one, two] = series as {
      readonly avg: number[];
      readonly max: number[];
      readonly before: { readonly avg: (number | null)[] };
    }[];
    const cells = await page
      .getByRole('grid', { name: 'Table of the answer' })
      .locator('.vrow')
      .first()
      .getByRole('gridcell')
      .allTextContents();
    const last = t.length - 1;
    const values = [cells[1], cells[3], cells[5], cells[7]].map((text) => Number(text!.replace('−', '-')));
    for (const [index, value] of [one!.avg[last]!, one!.max[last]!, two!.avg[last]!, two!.max[last]!].entries())
      expect(values[index]).toBeCloseTo(value, 1);
    expect(Number(cells[2]!.replace('−', '-').replace('+', ''))).toBeCloseTo(
      one!.avg[last]! - one!.before.avg[last]!,
      1,
    );
    await page.getByText(/8 buckets of 30.min × 2 devices/).waitFor();
    const second = await context.newPage();
    await second.goto(page.url());
    await eventually(async () => expect(await rowsOf(second)).toEqual(shown));
  });

  it('compares with a week before, in the numbers and the zone of the viewer, and copies its link', async () => {
    const weekMs = 7 * 86_400_000;
    const readings = Array.from({ length: 30 }, (_, minute) => ({
      ts: new Date(start - weekMs + minute * 60_000).toISOString(),
      metrics: { heat: 1.5 },
    }));
    await call('/api/v1/telemetry', { method: 'POST', body: JSON.stringify([{ deviceId: 'ask-1', readings }]) });
    const [average, before] = await eventually(async () => {
      const asked = new URLSearchParams(address.slice(address.indexOf('?')));
      const { series } = (await (await call(`/api/v1/series?${asked}&offset=7d`)).json()) as {
        readonly series: readonly { readonly avg: number[]; readonly before: { readonly avg: (number | null)[] } }[];
      };
      expect(series[0]!.before.avg[0]).toBe(1.5);
      return [series[0]!.avg[0]!, series[0]!.before.avg[0]!];
    });
    const { page, context } = await openDashboard({
      role: 'analyst',
      subject: 'abroad',
      path: address,
      locale: 'de-DE',
      timezoneId: 'America/New_York',
    });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: /^Compared with:/ }).click();
    await page.getByRole('option', { name: /a week before/ }).click();
    await page.getByRole('button', { name: /^Run/ }).click();
    const first = page.getByRole('grid', { name: 'Table of the answer' }).locator('.vrow').last();
    await first.getByText(/^[+−]/).first().waitFor();
    const [bucket, value, difference] = await first.getByRole('gridcell').allTextContents();
    // 12:00 UTC, with a comma before the decimals.
    expect(bucket).toContain('07:00');
    const german = (text: string) => Number(text.replace(/[+]/, '').replace('−', '-').replace(',', '.'));
    for (const [text, expected] of [
      [value!, average],
      [difference!, average - before],
    ] as const) {
      expect(text).toMatch(/^[+−]?\d+,\d+$/);
      expect(german(text)).toBeCloseTo(expected, 1);
    }
    expect(await page.locator('.clock').textContent()).toMatch(/ GMT-5$/);
    await page.getByRole('button', { name: 'Link to this view' }).click();
    await page.getByText('Link copied').waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    expect([link, new URL(link).searchParams.get('offset')]).toEqual([page.url(), '7d']);
  });

  it('the row of the table and the cursor of the chart are one selection', async () => {
    const { page } = await openDashboard({ role: 'analyst', subject: 'pointing', path: address, timezoneId: 'UTC' });
    const chart = page.getByRole('application').first();
    await chart.focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    const chosen = page.getByRole('grid', { name: 'Table of the answer' }).locator('.vrow[aria-selected=true]');
    await eventually(async () => expect(await chosen.textContent()).toContain('12:30'));
  });

  it('exports the table as the API gives it', async () => {
    const { page } = await openDashboard({ role: 'analyst', subject: 'exporting', path: address, timezoneId: 'UTC' });
    await eventually(async () => expect((await rowsOf(page)).length).toBe(8));
    const question = { ...selection, agg: 'avg', groupBy: 'device', interval: '30m', tz: 'UTC' };
    for (const [label, format] of [
      ['CSV', 'csv'],
      ['Arrow', 'arrow'],
    ] as const) {
      await page.getByRole('button', { name: label, exact: true }).click();
      await page.getByRole('radio', { name: 'This table' }).check();
      await page.getByRole('button', { name: 'Export', exact: true }).click();
      const line = page.getByRole('listitem').filter({ hasText: `.${format}` });
      await line.getByText(/ready/).waitFor();
      const shown = await downloaded(page, line.getByRole('button', { name: 'download' }));
      const wanted = await call(`/api/v1/series?${new URLSearchParams({ ...question, format })}`);
      // Arrow holds beside the rows when they were read.
      if (format === 'csv') expect(shown.toString()).toBe(await wanted.text());
      else expect(shown.length).toBe((await wanted.arrayBuffer()).byteLength);
    }
  });

  it('exports stored readings by a job of the server: cancelled, made again, downloaded after a reload, removed', async () => {
    // An operator is given the jobs of all; the list has its own.
    const other = (await (
      await call('/api/v1/exports', {
        method: 'POST',
        body: JSON.stringify({ pattern: 'ask-*', format: 'csv', ...range }),
      })
    ).json()) as { readonly id: string };
    const { page } = await openDashboard({ role: 'operator', subject: 'filing', path: address, timezoneId: 'UTC' });
    await eventually(async () => expect((await rowsOf(page)).length).toBe(8));
    await page.getByRole('radio', { name: /^Raw readings of 2 devices/ }).check();
    const lines = page.getByRole('list', { name: 'Exports' }).getByRole('listitem');
    const begin = async (label: string) => {
      await page.getByRole('button', { name: label, exact: true }).click();
      await page.getByRole('button', { name: 'Export', exact: true }).click();
    };
    await using held = await holdTable('shapes');
    await begin('CSV');
    await lines.getByText('CSV, running').waitFor();
    expect(await lines.getByRole('img').getAttribute('aria-label')).toMatch(/^(Coming|\d+ percent)$/);
    await lines.getByRole('button', { name: /^Cancel readings/ }).click();
    await lines.getByText('CSV, cancelled').waitFor();
    await held.release();

    for (const [label, format] of [
      ['NDJSON', 'ndjson'],
      ['Parquet', 'parquet'],
    ] as const) {
      await begin(label);
      const line = lines.filter({ hasText: `${label}, ready` });
      await line.getByText(/480\srows · [\d.]+\s.?B/).waitFor();
      if (format === 'ndjson') await page.reload();
      const file = await downloaded(page, line.getByRole('link', { name: 'download' }));
      const path = (await line.getByRole('link', { name: 'download' }).getAttribute('href'))!;
      expect(file.equals(Buffer.from(await (await call(path)).arrayBuffer()))).toBe(true);
      if (format === 'parquet') expect(file.subarray(0, 4).toString()).toBe('PAR1');
      else {
        const streamed = await (await call(`/api/v1/readings?${new URLSearchParams({ ...selection, format })}`)).text();
        expect(readingsOf(file.toString())).toEqual(readingsOf(streamed));
      }
      await page.getByRole('radio', { name: /^Raw readings of 2 devices/ }).check();
    }
    expect(await lines.filter({ hasText: other.id.slice(0, 8) }).count()).toBe(0);
    await lines
      .filter({ hasText: 'Parquet, ready' })
      .getByRole('button', { name: /^Remove/ })
      .click();
    await eventually(async () => expect(await lines.filter({ hasText: 'Parquet' }).count()).toBe(0));
  });

  it('a question that is too dear is refused with the nearest one that is allowed, by a button', async () => {
    const dear = `/explore?${new URLSearchParams({ pattern: 'ask-*', metrics: 'heat', agg: 'avg', groupBy: 'none', interval: '1s', from: '2026-11-01', to: '2026-11-21', tz: 'UTC' })}`;
    const { page, takeErrors } = await openDashboard({
      role: 'analyst',
      subject: 'spending',
      path: dear,
      timezoneId: 'UTC',
    });
    const refusal = page.getByRole('alert').filter({ hasText: 'too dear' });
    await refusal.waitFor();
    await refusal.getByRole('button', { name: /^Ask/ }).click();
    await eventually(async () => expect((await rowsOf(page)).length).toBeGreaterThan(0));
    await eventually(async () => expect(await refusal.count()).toBe(0));
    expect(takeErrors().every((text) => text.includes('422'))).toBe(true);
  });

  it.each(['light', 'dark'] as const)(
    'looks like its picture and has no violation of WCAG 2.2 AA, with an open token too, in %s',
    async (colorScheme) => {
      const { page, violations } = await openDashboard({
        role: 'operator',
        subject: `seeing-${colorScheme}`,
        path: `${address}&offset=1h`,
        colorScheme,
      });
      await eventually(async () => expect((await rowsOf(page)).length).toBeGreaterThan(0));
      expect(await violations()).toEqual([]);
      expect(await differences(page, `explore-${colorScheme}`, ['.top', '.wire', '.answered'])).toEqual([]);
      await page.getByRole('button', { name: /^Metrics:/ }).click();
      await page.getByRole('listbox').waitFor();
      expect(await violations()).toEqual([]);
    },
  );

  it('is asked and taken away by keys alone', async () => {
    const { page } = await openDashboard({ role: 'analyst', subject: 'typing', path: address, timezoneId: 'UTC' });
    await eventually(async () => expect((await rowsOf(page)).length).toBe(8));
    await tabTo(page, page.getByRole('button', { name: /^Aggregates:/ }));
    await page.keyboard.press('Enter');
    await page.keyboard.type('min');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Enter');
    await page.getByText('ask-2 min').first().waitFor();
    await tabTo(page, page.getByRole('application'));
    await page.keyboard.press('Home');
    await page.keyboard.press('T');
    await eventually(async () =>
      expect(await page.evaluate(() => document.activeElement?.getAttribute('role'))).toBe('row'),
    );
    await tabTo(page, page.getByRole('button', { name: 'NDJSON' }));
    await page.keyboard.press('Enter');
    await tabTo(page, page.getByRole('button', { name: 'Export', exact: true }));
    await page.keyboard.press('Enter');
    const download = page.getByRole('listitem').getByRole('button', { name: 'download' });
    await download.waitFor();
    await tabTo(page, download);
    const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
    expect((await buffer(await file.createReadStream())).toString().trim().split('\n').length).toBeGreaterThan(8);
  });

  it('is printed as its question, its chart and its table', async () => {
    const { page } = await openDashboard({ role: 'analyst', subject: 'printing', path: address, timezoneId: 'UTC' });
    await eventually(async () => expect((await rowsOf(page)).length).toBe(8));
    await page.emulateMedia({ media: 'print' });
    await page.locator('.printed').waitFor();
    expect(await page.locator('.printed tbody tr').count()).toBe(8);
    expect(await page.locator('.query').innerText()).toMatch(/Show\s+avg\s+of\s+heat/);
    for (const control of ['.btn', 'input', 'select', 'fieldset', '.top', '.wire'])
      expect(await page.locator(`${control}:visible`).count(), control).toBe(0);
  });

  it('fits the width of a phone', async () => {
    const { page } = await openDashboard({
      role: 'analyst',
      subject: 'walking',
      path: address,
      viewport: { width: 390, height: 844 },
    });
    await eventually(async () => expect((await rowsOf(page)).length).toBeGreaterThan(0));
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });
});
