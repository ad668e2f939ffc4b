import type { Page } from 'playwright-core';
import { percentile } from '../../bench/figure.ts';
import type { Value } from './figure-list.ts';
import { chartDevice } from './load.ts';
import { readingsIn } from './measures.ts';
import { type BenchContext, openPage } from './page.ts';
import { frameMark, framesOf } from './trace.ts';

const kinds = {
  still: { path: '/', what: 'Fleet, still' },
  scrolling: { path: '/', what: 'Fleet, scrolling' },
  chart: { path: `/devices/${chartDevice}?from=now-15m`, what: 'Device, live charts' },
  console: { path: '/console', what: 'Console, every reading' },
} as const;

/** About 75 rows a second. */
const scrolledPxPerFrame = 40;
const scriptMsMax = 8;

/** What the scripts of a page take of each frame while the fleet sends: of the main thread, with their garbage collection. */
export async function measureFrames(context: BenchContext, kind: keyof typeof kinds): Promise<readonly Value[]> {
  const { path, what } = kinds[kind];
  await using opened = await openPage(context, `framing-${kind}`);
  const { page } = opened;
  let received = 0;
  if (kind === 'console')
    page.on('websocket', (socket) =>
      socket.on('framereceived', ({ payload }) => {
        received += readingsIn(payload.toString());
      }),
    );
  await page.goto(path);
  await ready(page, kind);
  const receivedBefore = received;
  const countedFrom = performance.now();
  const debugging = await page.context().newCDPSession(page);
  // What the thread of the page used, however busy the machine is.
  await debugging.send('Performance.enable', { timeDomain: 'threadTicks' });
  const used = async () => {
    const { metrics } = await debugging.send('Performance.getMetrics');
    const of = (wanted: string) => 1_000 * (metrics.find(({ name }) => name === wanted)?.value ?? 0);
    return { script: of('ScriptDuration'), task: of('TaskDuration') };
  };
  const categories = ['devtools.timeline', 'blink.user_timing', 'v8'];
  const usedBefore = await used();
  await context.browser.startTracing(page, { categories });
  await page.evaluate(
    ([mark, seconds, px]) =>
      new Promise<void>((resolve) => {
        const endsAt = performance.now() + seconds * 1_000;
        // To read the position of the page after each step would make it compute its layout twice.
        const most = document.documentElement.scrollHeight - innerHeight;
        let at = scrollY;
        let step: number = px;
        const onFrame = () => {
          performance.mark(mark);
          performance.clearMarks(mark);
          if (px !== 0) {
            if (at + step > most || at + step < 0) step = -step;
            at += step;
            scrollTo(0, at);
          }
          if (performance.now() < endsAt) requestAnimationFrame(onFrame);
          else resolve();
        };
        requestAnimationFrame(onFrame);
      }),
    [frameMark, context.seconds, kind === 'scrolling' ? scrolledPxPerFrame : 0] as const,
  );
  const usedAfter = await used();
  const countedSeconds = (performance.now() - countedFrom) / 1_000;
  const receivedPerSecond = (received - receivedBefore) / countedSeconds;
  const trace = await context.browser.stopTracing();
  const { scriptMs, seconds } = framesOf(trace);
  const values: Value[] = [
    { kind: `${kind}ScriptMean`, name: `script a frame: ${what}, mean`, unit: 'ms', value: mean(scriptMs) },
    {
      kind: `${kind}ScriptP95`,
      name: '  95th percentile',
      unit: 'ms',
      goal: { direction: 'at most', bar: scriptMsMax },
      value: percentile(scriptMs, 95),
    },
    { kind: `${kind}ScriptP99`, name: '  99th percentile', unit: 'ms', value: percentile(scriptMs, 99) },
    {
      kind: `${kind}ScriptCpu`,
      name: '  CPU time of script, mean',
      unit: 'ms',
      value: (usedAfter.script - usedBefore.script) / scriptMs.length,
    },
    {
      kind: `${kind}TaskCpu`,
      name: '  CPU time with style, layout and paint, mean',
      unit: 'ms',
      value: (usedAfter.task - usedBefore.task) / scriptMs.length,
    },
    {
      kind: `${kind}Frames`,
      name: '  frames a second',
      unit: '',
      ...(kind === 'scrolling' && { goal: { direction: 'at least' as const, bar: 58 } }),
      value: scriptMs.length / seconds,
    },
  ];
  if (kind === 'console')
    values.push(
      {
        kind: 'consoleReceived',
        name: '  readings a second that reach the page',
        unit: '1/s',
        value: receivedPerSecond,
      },
      {
        kind: 'consoleLines',
        name: '  lines that it shows at the end (it keeps 10,000)',
        unit: '',
        value: await linesShown(page),
      },
    );
  return values;
}

async function ready(page: Page, kind: keyof typeof kinds): Promise<void> {
  if (kind === 'chart') await page.locator('.uplot canvas').first().waitFor();
  else await page.locator('.vrow').first().waitFor();
  // What a page asks for once, and its first pictures, are part of the first view.
  await page.waitForTimeout(3_000);
}

async function linesShown(page: Page): Promise<number> {
  const text = (await page.locator('[data-log=count]').textContent()) ?? '';
  return Number((/showing ([\d,]+) of/.exec(text)?.[1] ?? '0').replaceAll(',', ''));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
