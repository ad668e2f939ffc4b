import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, inject, it } from 'vitest';
import { startLivePlatform, startWatcher } from './live-platform.ts';
import { webSocketUrlOf } from './platform.ts';

/** Readings a second of all devices. The size of the issue is 2,000: `LIVE_ORACLE_RATE=2000 npm test -- lab/e2e/live-oracle`. */
const rate = Number(process.env['LIVE_ORACLE_RATE'] ?? 500);
const deviceCount = 20;
const framesPerSecond = 10;
const readingsPerFrame = rate / deviceCount / framesPerSecond;

it(`gives watchers exactly what the database has, at ${rate} readings/s, while edges, workers, query-api and the broker are killed, stopped and restarted in turn`, async ({
  skip,
}) => {
  const kind = inject('backingKind');
  if (kind === 'given') return skip('needs a RabbitMQ that it may kill');
  const servers = await startBackingServices({
    mode: kind,
    dataDir: mkdtempSync(join(tmpdir(), 'fleetwire-oracle-')),
    temporary: true,
    log: () => {},
    env: process.env,
  });
  cleanUp(() => servers.stop());
  // The broker's port may be another one after a restart.
  const way = await startFaultProxy(() => ({ host: '127.0.0.1', port: Number(new URL(servers.amqpUrl).port) }));
  cleanUp(() => way.stop());
  const amqpUrl = Object.assign(new URL(servers.amqpUrl), { host: `127.0.0.1:${way.port}` }).href;
  const { platform, edges, api, worker, database, stored, device } = await startLivePlatform({}, { amqpUrl });
  const other = await platform.start('persistence-worker');
  const devices = await Promise.all(
    Array.from({ length: deviceCount }, (_, index) => device(edges[index % 2]!, `d-${index}`)),
  );
  const analyst = await platform.keys.token('ada', 'analyst');
  const operator = await platform.keys.token('oscar', 'operator');
  const registered = await fetch(`${api.url}/api/v1/devices`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' },
    body: JSON.stringify({ deviceId: 'd-7', tags: ['oracle'] }),
  });
  expect(registered.status).toBe(201);

  const ending = new AbortController();
  let sent = 0;
  const startedAt = Date.now();
  const sending = (async () => {
    for (let frames = 0; !ending.signal.aborted; frames += 1) {
      for (const one of devices)
        one.send(...Array.from({ length: readingsPerFrame }, () => ({ ts: Date.now(), metrics: { n: (sent += 1) } })));
      // Frames that are late are sent one after the other.
      await sleep(Math.max(0, startedAt + ((frames + 1) * 1_000) / framesPerSecond - Date.now()));
    }
  })();
  const all = startWatcher(webSocketUrlOf(edges[1]), analyst, { pattern: '*' });
  const tagged = startWatcher(webSocketUrlOf(edges[0]), analyst, { tag: 'oracle' });
  for (const watcher of [all, tagged]) await eventually(() => expect(watcher.received.size).toBeGreaterThan(10));

  const restart = async (service: ServiceProcess, how: 'kill' | 'stop'): Promise<void> => {
    await service[how]();
    await sleep(300);
    service.start();
    await service.untilReady();
    await sleep(1_000);
  };
  const broker = servers.control.rabbitmq!;
  await restart(edges[0], 'kill');
  await restart(worker, 'kill');
  await restart(api, 'kill');
  await broker.end('killed');
  await broker.start();
  await sleep(2_000);
  all.break();
  tagged.break();
  await restart(edges[1], 'kill');
  await Promise.all([restart(worker, 'kill'), restart(other, 'kill')]);
  // A rolling deploy.
  for (const service of [edges[0], edges[1], worker, other, api]) await restart(service, 'stop');
  await broker.end('orderly');
  await broker.start();
  await restart(edges[0], 'stop');
  const seconds = (Date.now() - startedAt) / 1_000;
  ending.abort();
  await sending;
  await Promise.all(devices.map((one) => one.whenSettled()));

  await eventually(
    async () => {
      const rows = await stored();
      const missing = [...rows].filter((id) => !all.received.has(id));
      const surplus = [...all.received.keys()].filter((id) => !rows.has(id));
      expect({ missing: missing.length, surplus: surplus.length }).toEqual({ missing: 0, surplus: 0 });
      expect(rows.size).toBeGreaterThanOrEqual(devices.reduce((sum, { journal }) => sum + journal.acked.size, 0));
      const ofTag = [...rows].filter((id) => id.startsWith('d-7 '));
      expect([...tagged.received.keys()].toSorted()).toEqual(ofTag.toSorted());
    },
    { timeoutMs: 120_000, intervalMs: 1_000 },
  );
  const rows = (await stored()).size;
  const repeated = [...all.received.values()].filter((times) => times > 1).length;
  for (const watcher of [all, tagged]) expect(watcher.state().repeatedInOneSubscription).toBe(0);
  // Everything is told: caught up, or what is open is true, because an envelope got no answer from a broker that was killed. Its number stays open
  // for 10 minutes, in which it may still come.
  await eventually(
    async () => {
      const { rows: unsettled } = await database.pool.query(
        `select from edges e where closed_at is null and
           (last > settled or exists (select from envelopes o where o.edge_key = e.edge_key and o.last > e.settled))`,
      );
      for (const { messages } of [all, tagged]) {
        const newest = messages.slice(messages.findLastIndex(({ type }) => type === 'subscribed'));
        const isCaughtUp = newest.some(({ type, pendingId }) => type === 'caught_up' && pendingId === undefined);
        const isOpen = newest.some(({ type }) => type === 'pending' || type === 'gap');
        expect(isCaughtUp || (isOpen && unsettled.length > 0)).toBe(true);
      }
    },
    { timeoutMs: 60_000 },
  );
  const { subscriptions } = all.state();
  const told = Object.entries(Object.groupBy(all.messages, ({ type, reason = '' }) => `${type} ${reason}`));
  const counts = told.map(([type, messages]) => `${type.trim()} ${messages!.length}`).join(', ');
  process.stderr.write(
    `oracle: ${sent} readings in ${seconds.toFixed(0)} s, ${rows} stored, all received; ${repeated} came again after a resume; ${subscriptions} subscriptions; ${counts}\n`,
  );
}, 600_000);
