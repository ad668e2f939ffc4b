import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { percentile } from '../../bench/figure.ts';
import type { Value } from './figure-list.ts';
import { type BenchContext, openPage } from './page.ts';

declare global {
  interface Window {
    /** When the page showed each value for the first time, epoch milliseconds. */
    shownAt?: Record<string, number>;
  }
}

const probes = 20;
const everyMs = 250;
const deviceId = 'probe-1';

/** From the frame of a device to its value in the sentence of its page; beside it, to a bare subscriber of the same live socket. */
export async function measureDelay(context: BenchContext): Promise<readonly Value[]> {
  const { url, keys } = context;
  const open = async (subject: string, role: 'device' | 'analyst', query = '') => {
    const headers = { authorization: `Bearer ${await keys.token(subject, role)}` };
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws${query}`, ['fleetwire.v1.json'], { headers });
    await once(socket, 'open');
    return socket;
  };
  const device = await open(deviceId, 'device', `?epoch=${Date.now()}`);
  const bare = await open('bare-subscriber', 'analyst');
  const receivedAt = new Map<number, number>();
  bare.on('message', (data) => {
    const message = JSON.parse((data as Buffer).toString('utf8')) as {
      readonly type: string;
      readonly readings?: readonly { readonly metrics: { readonly probe?: number } }[];
    };
    if (message.type !== 'data_update') return;
    for (const { metrics } of message.readings ?? [])
      if (metrics.probe !== undefined) receivedAt.set(metrics.probe, Date.now());
  });
  bare.send(JSON.stringify({ type: 'subscribe', id: 'probe', devices: [deviceId], events: ['readings'] }));
  let seq = 0;
  const send = (probe: number) =>
    device.send(JSON.stringify({ type: 'telemetry', seq: (seq += 1), ts: Date.now(), metrics: { probe } }));
  send(0);
  await using opened = await openPage(context, 'watching');
  const { page } = opened;
  await page.goto(`/devices/${deviceId}?from=now-15m&metrics=probe`);
  await page.getByRole('heading', { level: 1, name: /0/ }).waitFor();
  await page.locator('.uplot canvas').first().waitFor();
  await page.evaluate(() => {
    window.shownAt = {};
    const heading = document.querySelector('h1')!;
    new MutationObserver(() => {
      const value = /\b(\d{4})\b/.exec((heading.textContent ?? '').replaceAll(',', ''))?.[1];
      if (value !== undefined) window.shownAt![value] ??= Date.now();
    }).observe(heading, { childList: true, subtree: true, characterData: true });
  });
  const sentAt = new Map<number, number>();
  for (let probe = 1_000; probe < 1_000 + probes; probe += 1) {
    sentAt.set(probe, Date.now());
    send(probe);
    await sleep(everyMs);
  }
  const last = String(999 + probes);
  await page.waitForFunction((value) => window.shownAt?.[value] !== undefined, last, { timeout: 60_000 });
  const shownAt = await page.evaluate(() => window.shownAt!);
  device.close();
  bare.close();
  // A value that the next one replaced before the page drew itself was never shown: it is as late as the next one.
  const shownOf = (probe: number): number => shownAt[String(probe)] ?? shownOf(probe + 1);
  const inPage = [...sentAt].map(([probe, at]) => shownOf(probe) - at);
  const inSocket = [...sentAt].flatMap(([probe, at]) => {
    const received = receivedAt.get(probe);
    return received === undefined ? [] : [received - at];
  });
  return [
    {
      kind: 'shownP50',
      name: 'from the frame of a device to its value on the page, median',
      unit: 'ms',
      value: percentile(inPage, 50),
    },
    {
      kind: 'shownWorst',
      name: `  worst of ${probes}`,
      unit: 'ms',
      goal: { direction: 'at most', bar: 1_000 },
      value: Math.max(...inPage),
    },
    {
      kind: 'receivedP50',
      name: '  reference: to a bare subscriber, median',
      unit: 'ms',
      value: percentile(inSocket, 50),
    },
  ];
}
