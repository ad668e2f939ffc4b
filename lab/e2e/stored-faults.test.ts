import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setInterval as every } from 'node:timers/promises';
import { startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, inject, it } from 'vitest';
import { webSocketUrlOf } from './platform.ts';
import { startStoredStack } from './stored-stack.ts';

const day = 86_400_000;

it('what a device is told as stored is committed, dead or refused, and all it sent is told, while workers, the broker and an edge restart', async ({
  skip,
}) => {
  const kind = inject('backingKind');
  if (kind === 'given') return skip('needs a RabbitMQ that it may restart');
  const servers = await startBackingServices({
    mode: kind,
    dataDir: mkdtempSync(join(tmpdir(), 'fleetwire-stored-')),
    temporary: true,
    log: () => {},
    env: process.env,
  });
  cleanUp(() => servers.stop());
  const stack = await startStoredStack(servers, 2);
  const { rows, workers } = stack;
  await rows('create table faults (is_broken bool not null)');
  // Of a kind that names the reading as bad, and of one that the worker does not know.
  await rows(`create function refuse() returns trigger language plpgsql as $$ begin
    if new.seq % 23 = 5 then raise exception 'refused' using errcode = '22P02'; end if;
    if new.seq % 29 = 7 and exists (select from faults) then raise exception 'not today'; end if;
    return new; end $$`);
  await rows('create trigger refuse before insert on readings for each row execute function refuse()');
  const edges = [await stack.edge(), await stack.edge()];
  const urls = edges.map(webSocketUrlOf);
  const devices = [await stack.device('one', urls), await stack.device('two', urls.toReversed())];
  await eventually(() => expect(devices.every(({ isConnected }) => isConnected)).toBe(true));

  const stopping = new AbortController();
  let last = 0;
  const sending = (async () => {
    for await (const _ of every(100, undefined, { signal: stopping.signal })) {
      last += 1;
      for (const device of devices) device.send(last, Date.now() - (last % 17 === 3 ? 40 * day : 0));
    }
  })().catch((error: unknown) => {
    if (!stopping.signal.aborted) throw error;
  });
  const sent = async (more: number): Promise<void> => {
    const until = last + more;
    await eventually(() => expect(last).toBeGreaterThan(until));
  };

  await sent(20);
  for (const killed of workers) {
    await killed.kill();
    await sent(10);
    killed.start();
    await killed.untilReady();
  }
  await rows('insert into faults values (true)');
  await sent(30);
  await rows('delete from faults');
  await servers.control.rabbitmq!.ctl(['stop_app']);
  await sent(20);
  await servers.control.rabbitmq!.ctl(['start_app']);
  await sent(20);
  const release = await stack.blockReadings();
  await sent(20);
  await edges[0]!.kill();
  await sent(20);
  await release();
  edges[0]!.start();
  await edges[0]!.untilReady();
  await sent(20);
  stopping.abort();
  await sending;

  await eventually(() => expect(devices.flatMap(({ kept }) => kept)).toEqual([]), { timeoutMs: 120_000 });
  expect(await stack.untrueClaims()).toEqual([]);
  for (const [index, deviceId] of ['one', 'two'].entries()) {
    const stored = new Set(
      (await rows<{ seq: number }>('select seq from telemetry where device_id = $1', [deviceId])).map(({ seq }) => seq),
    );
    const { dead } = devices[index]!;
    for (let seq = 1; seq <= last; seq += 1) expect([seq, stored.has(seq) || dead.has(seq)]).toEqual([seq, true]);
    const bad = Array.from({ length: last }, (_, n) => n + 1).filter((seq) => seq % 17 === 3 || seq % 23 === 5);
    expect([...dead.keys()].filter((seq) => bad.includes(seq)).toSorted((a, b) => a - b)).toEqual(bad);
    await eventually(async () => {
      const letters = await rows<{ seq: number; id: string }>('select seq, id from dead_letters where device_id = $1', [
        deviceId,
      ]);
      expect(new Set(letters.map(({ seq }) => seq))).toEqual(new Set(dead.keys()));
    });
  }
}, 600_000);
