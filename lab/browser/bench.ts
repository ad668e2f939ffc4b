#!/usr/bin/env node
import { availableParallelism, cpus } from 'node:os';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommandLine } from '@fleetwire/cli/command-line';
import { startTemporaryBackingServices } from '@fleetwire/platform/servers/temporary';
import type { BackingMode } from '@fleetwire/platform/servers/backing-services';
import { Command, InvalidArgumentError, Option } from 'commander';
import { chromium } from 'playwright-core';
import { findBrowser } from '../../scripts/browser.mjs';
import { figureTable, judge } from '../bench/figure.ts';
import { serverBehind } from '../bench/process-usage.ts';
import { interruption } from '../bench/interruption.ts';
import { startUsageMeter } from '../bench/usage-meter.ts';
import { measureDelay } from './bench/delay.ts';
import { FigureList } from './bench/figure-list.ts';
import { measureFirstView, measureBarePage } from './bench/first-view.ts';
import { measureFrames } from './bench/frames.ts';
import { startDevices } from './bench/load.ts';
import { measureMemory } from './bench/memory.ts';
import { launchChromium } from './chromium.ts';
import { startBrowserPlatform } from './platform.ts';

/**
 * `npm run bench:dashboard`: what the dashboard costs in a browser, on the whole platform, while a fleet sends. Everything runs on this
 * machine: the browser shares the cores with the platform and its load.
 */
const root = join(import.meta.dirname, '../..');

interface Settings {
  readonly runs: number;
  readonly seconds: number;
  readonly devices: number;
  readonly rate: number;
  readonly minutes: number;
  readonly backing: BackingMode;
}

const command = new Command('bench:dashboard')
  .description(
    'Measure the dashboard in a browser: first view, script of a frame, delay of live readings, memory over time.',
  )
  .option('--runs <n>', 'number of runs; medians are reported', whole, 5)
  .option('--seconds <n>', 'duration of each measurement of frames', whole, 10)
  .option('--devices <n>', 'number of devices that are connected and send', whole, 5_000)
  .option('--rate <readings/s>', 'readings per second of all devices together', whole, 1_000)
  .option('--minutes <n>', 'how long the memory of live charts is watched; 0: not at all', (text) => Number(text), 60)
  .addOption(
    new Option('--backing <mode>', 'start RabbitMQ and Postgres as native processes or as containers')
      .choices(['auto', 'native', 'containers'])
      .default('auto'),
  )
  .action(bench);

await runCommandLine(command, process.argv);
process.exit();

async function bench({ runs, seconds, devices, rate, minutes, backing }: Settings): Promise<void> {
  const path = findBrowser();
  if (path === undefined)
    throw new Error('There is no Chromium: install it (Debian: apt-get install chromium), or give CHROMIUM.');
  const startedAt = new Date();
  const stamp = startedAt.toISOString().replaceAll(':', '-').slice(0, 19);
  const target = join(root, '.fleetwire/bench');
  const log = (line: string) => process.stderr.write(`${line}\n`);
  mkdirSync(target, { recursive: true });
  const interrupted = interruption(log);
  await using started = new AsyncDisposableStack();
  const folder = mkdtempSync(join(target, 'dashboard-'));
  started.defer(() => rmSync(folder, { recursive: true, force: true }));
  const servers = started.adopt(
    await startTemporaryBackingServices({ mode: backing, parentDir: join(root, '.fleetwire'), log }),
    (one) => one.stop(),
  );
  const { amqpUrl, managementUrl, databaseUrl } = servers;
  const place = started.use(await startBrowserPlatform({ amqpUrl, managementUrl, databaseUrl, folder }));
  const server = started.adopt(await launchChromium(path), (one) => one.close());
  const browser = await chromium.connect(server.wsEndpoint());
  log(`${devices} devices connect, and send ${rate} readings/s together:`);
  started.use(await startDevices(place, { devices, rate, folder, log }));

  const servedBy = { rabbitmq: await serverBehind(amqpUrl), postgres: await serverBehind(databaseUrl) };
  const figures = new FigureList(() => startUsageMeter(servedBy, []), log);
  const context = { browser, url: place.url, keys: place.platform.keys, seconds };
  const measure = (what: Parameters<FigureList['measure']>[0]) => Promise.race([figures.measure(what), interrupted]);
  for (let run = 1; run <= runs; run += 1) {
    log(`run ${run}:`);
    await measure(() => measureBarePage(context));
    await measure(() => measureFirstView(context));
    for (const kind of ['still', 'scrolling', 'chart', 'console'] as const)
      await measure(() => measureFrames(context, kind));
    await measure(() => measureDelay(context));
  }
  if (minutes > 0) {
    log(`memory of live charts, ${minutes} minutes:`);
    await measure(() => measureMemory(context, { minutes, log }));
  }
  const machine = { cpus: availableParallelism(), model: cpus()[0]?.model, browser: browser.version() };
  const file = join(target, `dashboard-${stamp}.json`);
  const all = figures.all();
  const judged = all.map((figure) => ({ ...figure, ...judge(figure) }));
  const settings = { runs, seconds, devices, rate, minutes };
  writeFileSync(file, `${JSON.stringify({ startedAt, settings, machine, figures: judged }, undefined, 2)}\n`);
  await browser.close();
  process.stdout.write(
    `\nChromium ${machine.browser}, ${machine.cpus} CPUs; ${devices} devices, ${rate} readings/s; medians of ${runs} runs\n\n${figureTable(all)}\n\nwritten to ${file}\n`,
  );
}

function whole(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be an integer of at least 1.');
}
