import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { BrowserPlatform } from '../platform.ts';

/** Devices of the fleet are called `truck-…`; one more, with a chart to look at, sends ten times a second. */
export const chartDevice = 'chart-1';
const chartRate = 10;
const lanes = 12;
const depots = ['lyon-est', 'rotterdam', 'milano', 'hamburg', 'barcelona', 'warszawa', 'wien', 'porto'];

/** Registers and connects a fleet that sends until it is disposed of. Resolves once all are online. */
export async function startDevices(
  { url, platform }: BrowserPlatform,
  {
    devices,
    rate,
    folder,
    log,
  }: { readonly devices: number; readonly rate: number; readonly folder: string; readonly log: (line: string) => void },
): Promise<AsyncDisposable> {
  const register = async (subject: string, deviceId: string, index: number) => {
    const depot = depots[index % depots.length]!;
    const answer = await fetch(`${url}/api/v1/devices`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await platform.keys.token(subject, 'admin')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        deviceId,
        name: `Truck ${index}, ${depot}`,
        type: 'truck',
        tags: [`depot:${depot}`, `firmware:4.${index % 3}`],
        metadata: { units: { temperature: '°C' }, limits: { temperature: { above: 40 } } },
      }),
    });
    if (!answer.ok) throw new Error(`${deviceId} was answered ${answer.status}: ${await answer.text()}`);
  };
  const names = Array.from({ length: devices }, (_, index) => `truck-${index + 1}`);
  // Each subject has a limit of its own on calls in a minute.
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      for (let index = lane; index < names.length; index += lanes)
        await register(`registrar-${lane}`, names[index]!, index);
    }),
  );
  await register('registrar', chartDevice, 0);
  const keysFile = join(folder, 'keys.json');
  writeFileSync(keysFile, JSON.stringify(platform.keys.privateJwks), { mode: 0o600 });
  const ingest = platform.services['ingest-ws'][0]!.url.replace('http', 'ws');
  await using started = new AsyncDisposableStack();
  for (const [prefix, count, each] of [
    ['truck-', devices, rate / devices],
    ['chart-', 1, chartRate],
  ] as const) {
    const options = ['--url', `${ingest}/ws`, '--keys', keysFile, '--prefix', prefix, '--json'];
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, '../../fleet/main.ts'),
        ...options,
        '--devices',
        String(count),
        '--rate',
        String(each),
        '--settle-timeout',
        '1s',
      ],
      { stdio: ['ignore', 'ignore', 'ignore'] },
    );
    started.defer(async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    });
  }
  await eventually(
    async () => {
      const online = await onlineDevices(url, await platform.keys.token('counting', 'admin'));
      if (online < devices + 1) throw new Error(`${online} of ${devices + 1} devices are online`);
    },
    { timeoutMs: 180_000, intervalMs: 2_000 },
  );
  log(`  ${devices + 1} devices are online`);
  return started.move();
}

async function onlineDevices(url: string, token: string): Promise<number> {
  let online = 0;
  for (let cursor = ''; ;) {
    const answer = await fetch(
      `${url}/api/v1/devices?presence=online&limit=1000&fields=deviceId${cursor === '' ? '' : `&cursor=${cursor}`}`,
      { headers: { authorization: `Bearer ${token}` } },
    );
    if (!answer.ok) throw new Error(`the list of devices was answered ${answer.status}`);
    const { data, page } = (await answer.json()) as { data: unknown[]; page: { next: string | null } };
    online += data.length;
    if (page.next === null) return online;
    cursor = encodeURIComponent(page.next);
  }
}
