import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from '../fleet/credentials.ts';
import { deviceIdOf, replayCsv } from '../fleet/csv-replay.ts';
import { endpointOf } from '../fleet/uplink.ts';
import type { ClientJournal } from '../fleet/journal.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { type LatestState, type ReadingsPage, startPlatform } from './platform.ts';

const directory = new URL('../fleet/data/', import.meta.url).pathname;
const files = (await readdir(directory)).filter((name) => name.endsWith('.csv')).map((name) => join(directory, name));

const platform = await startPlatform();
const asDevice: Credentials = async (deviceId) => ({
  token: await platform.token(deviceId, 'device'),
  isGateway: false,
});
const asGateway: Credentials = async () => ({ token: await platform.token('gateway', 'admin'), isGateway: true });

/** Counted by newlines alone: a fault of our parser must not cancel out. */
async function dataLines(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).trimEnd().split('\n').slice(1);
}

const expectedRows = Object.fromEntries(
  await Promise.all(files.map(async (file) => [deviceIdOf(file), (await dataLines(file)).length] as const)),
);
const total = Object.values(expectedRows).reduce((sum, count) => sum + count, 0);

async function replay(credentials: Credentials, isHttp = false): Promise<ClientJournal[]> {
  const journals: ClientJournal[] = [];
  await replayCsv({
    url: endpointOf(platform.ingest.url, isHttp),
    files,
    credentials,
    statistics: newLinkStatistics(),
    metric: 'value',
    readingsPerFrameMax: 100,
    signal: new AbortController().signal,
    settleTimeoutMs: 30_000,
    onBadLine: (file, line, reason) => expect.unreachable(`${file}:${line} ${reason}`),
    onJournal: (journal) => journals.push(journal),
  });
  return journals;
}

const acked = (journals: readonly ClientJournal[]) =>
  Object.fromEntries(journals.map(({ deviceId, acked: { size } }) => [deviceId, size]));

describe('a replay of real files', () => {
  it('has six files, one with repeated timestamps', async () => {
    expect(expectedRows).toMatchObject({
      machine_temperature_system_failure: 22_695,
      ambient_temperature_system_failure: 7_267,
    });
    const times = (await dataLines(join(directory, 'machine_temperature_system_failure.csv'))).map(
      (line) => line.split(',')[0],
    );
    expect(new Set(times).size).toBe(22_683);
  });

  it('stores exactly one row per line when devices send it over WebSocket', async () => {
    expect(acked(await replay(asDevice))).toEqual(expectedRows);
    await eventually(async () => expect(await platform.rows()).toEqual(expectedRows));
  });

  it('stores no further row when a gateway repeats it over WebSocket in the same epoch', async () => {
    const before = await platform.counted('duplicate');
    expect(acked(await replay(asGateway))).toEqual(expectedRows);
    await eventually(async () => expect(await platform.counted('duplicate')).toBe(before + total));
    expect(await platform.rows()).toEqual(expectedRows);
  });

  it('stores no further row when devices repeat it over HTTP in the same epoch', async () => {
    const before = await platform.counted('duplicate');
    expect(acked(await replay(asDevice, true))).toEqual(expectedRows);
    await eventually(async () => expect(await platform.counted('duplicate')).toBe(before + total));
    expect(await platform.rows()).toEqual(expectedRows);
  });

  it.for(files.map((file) => [deviceIdOf(file), file] as const))(
    'returns the last line of %s as the latest state',
    async ([deviceId, file]) => {
      const [time = '', value = ''] = (await dataLines(file)).at(-1)?.split(',') ?? [];
      const latest = await platform.get<LatestState>(`/devices/${deviceId}/latest`);
      expect(latest).toMatchObject({
        deviceId,
        ts: new Date(`${time.replace(' ', 'T')}Z`).toISOString(),
        metrics: { value: Number(value) },
      });
      expect((await platform.get<{ data: LatestState[] }>('/data')).data).toContainEqual(latest);
    },
  );

  it('returns every reading, page by page, in the order of time', async () => {
    const lines = await dataLines(join(directory, 'machine_temperature_system_failure.csv'));
    const values: number[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: ReadingsPage = await platform.get(
        `/devices/machine_temperature_system_failure/readings?order=asc&limit=5000${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      values.push(...page.data.map(({ metrics }) => Number(metrics['value'])));
      cursor = page.page.next;
    }
    const byNumber = (a: number, b: number) => a - b;
    expect(values).toHaveLength(lines.length);
    expect(values.toSorted(byNumber)).toEqual(lines.map((line) => Number(line.split(',')[1])).toSorted(byNumber));
  });
});
