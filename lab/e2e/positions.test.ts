import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import type { LivePosition } from '@fleetwire/contracts/live-history';
import { expect, it } from 'vitest';
import { openTestDatabase } from './database.ts';
import { createPlatform } from './platform.ts';

it('while workers are killed, everything that was acknowledged before completeUntil is stored, and completeUntil reaches the end', async () => {
  const servers = { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() };
  const platform = await createPlatform(servers, { REPORT_INTERVAL_MS: '100', BATCH_LINGER_MS: '20' });
  await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 2, 'query-api': 1 });
  const [ingest, api] = [platform.services['ingest-ws'][0]!, platform.services['query-api'][0]!];
  const workers = platform.services['persistence-worker'];
  const database = openTestDatabase(servers.databaseUrl);
  const [device, analyst] = [await platform.keys.token('pump', 'device'), await platform.keys.token('ada', 'analyst')];

  /** When the reading with this number was acknowledged. */
  const ackedAt = new Map<number, number>();
  const send = async (seq: number): Promise<void> => {
    const response = await fetch(`${ingest.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: { authorization: `Bearer ${device}`, 'content-type': 'application/json' },
      body: JSON.stringify({ epoch: 'e', seq, ts: Date.now(), metrics: { seq } }),
    });
    expect(response.status).toBe(202);
    ackedAt.set(seq, Date.now());
  };
  const look = async (): Promise<number> => {
    const response = await fetch(`${api.url}/api/v1/live/position`, {
      headers: { authorization: `Bearer ${analyst}` },
    });
    const { completeUntil } = (await response.json()) as LivePosition;
    const until = completeUntil === null ? 0 : Date.parse(completeUntil);
    const { rows } = await database.pool.query<{ seq: number }>('select seq from telemetry');
    const stored = new Set(rows.map(({ seq }) => seq));
    expect([...ackedAt].filter(([seq, at]) => at < until && !stored.has(seq))).toEqual([]);
    return until;
  };

  for (let round = 0, seq = 0; round < 6; round += 1) {
    const killed = workers[round % 2]!;
    const sending = (async () => {
      for (let n = 0; n < 40; n += 1) await Promise.all([send(++seq), send(++seq)]);
    })();
    await look();
    await killed.kill();
    await look();
    await sending;
    await look();
    killed.start();
  }
  const lastAck = Math.max(...ackedAt.values());
  await eventually(async () => expect(await look()).toBeGreaterThan(lastAck));
  expect(ackedAt.size).toBe(480);
});
