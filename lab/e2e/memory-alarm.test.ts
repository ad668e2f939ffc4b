import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setInterval as every } from 'node:timers/promises';
import { startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { startDeviceClient } from '../fleet/device-client.ts';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, inject, it } from 'vitest';
import { residentBytesOf } from '../bench/process-usage.ts';
import { openTestDatabase } from './database.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

const mebibyte = 1024 * 1024;
/** Longer than the lease of an edge, which is 12 s. The size of the issue is a minute: `ALARM_SECONDS=60 npm test -- lab/e2e/memory-alarm`. */
const alarmSeconds = Number(process.env['ALARM_SECONDS'] ?? 20);

it(`pauses sockets, keeps memory flat and devices online while RabbitMQ blocks publishers for ${alarmSeconds} s, then continues`, async ({
  skip,
}) => {
  const kind = inject('backingKind');
  if (kind === 'given') return skip('needs a RabbitMQ whose memory alarm it may set');
  const services = await startBackingServices({
    mode: kind,
    dataDir: mkdtempSync(join(tmpdir(), 'fleetwire-alarm-')),
    temporary: true,
    log: () => {},
    env: process.env,
  });
  cleanUp(() => services.stop());
  const platform = await createPlatform(services);
  await platform.start('persistence-worker');
  const database = openTestDatabase(services.databaseUrl);
  const connections = async () =>
    (
      await database.pool.query<{ reason: string | null; generation: number; n: number }>(
        'select reason, generation, count(*)::int4 as n from connections group by 1, 2',
      )
    ).rows;
  const ingest = await platform.start('ingest-ws', { env: { HEARTBEAT_INTERVAL_MS: '5000' } });
  const clients = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const deviceId = `device-${index}`;
      const token = await platform.keys.token(deviceId, 'device');
      return startDeviceClient({ url: webSocketUrlOf(ingest), deviceId, token });
    }),
  );
  cleanUp(() => Promise.all(clients.map((client) => client.stop({ settleTimeoutMs: 0 }))));
  const acked = (): number => clients.reduce((sum, client) => sum + client.journal.acked.size, 0);
  const sending = new AbortController();
  const load = (async () => {
    for await (const _ of every(20, undefined, { signal: sending.signal })) {
      for (const client of clients) if (client.room > 0) client.send({ ts: Date.now(), metrics: { value: 1 } });
    }
  })().catch((error: unknown) => {
    if (!sending.signal.aborted) throw error;
  });
  await eventually(() => expect(acked()).toBeGreaterThan(5_000));
  await eventually(async () => expect(await connections()).toEqual([{ reason: null, generation: 1, n: 50 }]));

  const watermark = (value: string) => services.control.rabbitmq!.ctl(['set_vm_memory_high_watermark', value]);
  await watermark('0.0000001');
  await eventually(async () => expect(await ingest.metric('fleetwire_ingest_congested')).toBe(1));
  const ackedThen = acked();
  const before = await residentBytesOf(ingest.pid);
  let most = 0;
  let seconds = 0;
  for await (const _ of every(1_000)) {
    most = Math.max(most, (await residentBytesOf(ingest.pid)) - before);
    if ((seconds += 1) >= alarmSeconds) break;
  }
  expect(most).toBeLessThan(50 * mebibyte);
  // What was published a moment before the alarm may still have been confirmed.
  expect(acked() - ackedThen).toBeLessThan(5_000);
  expect(await ingest.metric('fleetwire_ingest_connections')).toBe(50);
  // The edge was confirmed nothing for longer than its lease, and yet its sockets are open.
  expect(await connections()).toEqual([{ reason: null, generation: 1, n: 50 }]);

  await watermark('0.6');
  await eventually(async () => expect(await ingest.metric('fleetwire_ingest_congested')).toBe(0));
  sending.abort();
  await load;
  await Promise.all(clients.map((client) => client.whenSettled()));
  expect(clients.reduce((sum, client) => sum + client.journal.refused.size, 0)).toBe(0);
  // One new generation for each lease that passed without a confirm, all sessions in the last one.
  await eventually(async () => {
    const [all, ...others] = await connections();
    expect(others).toEqual([]);
    expect(all).toMatchObject({ reason: null, n: 50 });
    expect(all!.generation).toBeGreaterThan(1);
  });
});
