import { once } from 'node:events';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createPlatform } from './platform.ts';

interface Instance {
  readonly name: string;
  readonly service: string;
  readonly version: string;
  readonly state: string;
  readonly startedAt: string;
  readonly sockets: number | null;
  readonly perSecond: number | null;
  readonly transactions: { readonly busy: number; readonly max: number } | null;
}
interface Instances {
  readonly complete: boolean;
  readonly data: readonly Instance[];
}

it('GET /instances lists every running instance; killed ones are shown as stopped until they run again', async () => {
  const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() });
  const began = Date.now();
  const [ingest, worker, api] = await Promise.all([
    platform.start('ingest-ws'),
    platform.start('persistence-worker'),
    platform.start('query-api'),
  ]);
  const [other] = await Promise.all([platform.start('query-api'), platform.start('persistence-worker')]);
  const operator = await platform.keys.token('olga', 'operator');
  const read = async (url = api.url): Promise<Instances> => {
    const answer = await fetch(`${url}/api/v1/instances`, { headers: { authorization: `Bearer ${operator}` } });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Instances;
  };
  const states = async (url?: string) => (await read(url)).data.map(({ name, state }) => `${name} ${state}`);

  const device = await platform.keys.token('pump', 'device');
  const socket = new WebSocket(`${ingest.url.replace('http', 'ws')}/ws`, ['fleetwire.v1.json'], {
    headers: { authorization: `Bearer ${device}` },
  });
  await once(socket, 'open');
  let seq = 0;
  const sending = setInterval(
    () => socket.send(JSON.stringify({ type: 'telemetry', seq: (seq += 1), ts: Date.now(), metrics: { a: seq } })),
    100,
  );
  const all = [
    'ingest-1 running',
    'worker-1 running',
    'worker-2 running',
    'query-api-1 running',
    'query-api-2 running',
  ];
  await eventually(async () => expect(await states()).toEqual(all), { intervalMs: 500 });
  await eventually(
    async () => {
      const { complete, data } = await read();
      expect(complete).toBe(true);
      const [edge, ...rest] = data;
      expect(edge).toMatchObject({ service: 'ingest-ws', sockets: 1, transactions: null });
      expect(edge!.perSecond).toBeGreaterThan(0);
      const workers = rest.filter(({ service }) => service === 'persistence-worker');
      for (const { transactions } of workers) expect(transactions).toMatchObject({ max: 2 });
      expect(workers.reduce((sum, { perSecond }) => sum + (perSecond ?? 0), 0)).toBeGreaterThan(0);
      for (const { startedAt, version } of data) {
        expect(version).toMatch(/^\d+\.\d+\.\d+/);
        expect(Date.parse(startedAt)).toBeGreaterThan(began - 1_000);
      }
    },
    { intervalMs: 500 },
  );
  clearInterval(sending);
  socket.terminate();
  await Promise.all([ingest.kill(), worker.kill(), api.kill()]);
  const killed = [
    'ingest-1 stopped',
    'worker-2 running',
    'worker-1 stopped',
    'query-api-2 running',
    'query-api-1 stopped',
  ];
  await eventually(async () => expect(await states(other.url)).toEqual(killed), { intervalMs: 500 });
  worker.start();
  ingest.start();
  const back = [
    'ingest-1 running',
    'worker-1 running',
    'worker-2 running',
    'query-api-2 running',
    'query-api-1 stopped',
  ];
  await eventually(async () => expect(await states(other.url)).toEqual(back), { intervalMs: 500 });
});
