import { setInterval as every } from 'node:timers/promises';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { openTestDatabase } from './database.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

/** An edge that is gone is noticed at the end of its lease; writing it takes one more step of the worker. */
const lostMsMax = 15_000;
const waiting = { timeoutMs: 40_000 };
const databaseUrl = await freshDatabase();
const platform = await createPlatform({ amqpUrl: await freshVhost(), databaseUrl });
const database = openTestDatabase(databaseUrl);
const worker = await platform.start('persistence-worker');

const startEdges = (count: number): Promise<ServiceProcess[]> =>
  Promise.all(Array.from({ length: count }, () => platform.start('ingest-ws')));

async function rows<R extends object>(text: string): Promise<R[]> {
  return (await database.pool.query<R>(text)).rows;
}

const sockets: WebSocket[] = [];
cleanUp(() => sockets.forEach((socket) => socket.terminate()));

async function connect(edge: ServiceProcess, deviceId: string, epoch = 'boot-1'): Promise<WebSocket> {
  const token = await platform.keys.token(deviceId, 'device');
  const socket = new WebSocket(`${webSocketUrlOf(edge)}?epoch=${epoch}`, 'fleetwire.v1.json', {
    headers: { authorization: `Bearer ${token}` },
  });
  sockets.push(socket);
  socket.on('error', () => {});
  await new Promise((resolve, reject) => socket.once('open', resolve).once('close', reject));
  return socket;
}

/** How many of the devices `many-…` have which presence. */
async function presence(): Promise<Record<string, number>> {
  const found = await rows<{ key: string; n: number }>(
    `select status || ': ' || reason as key, count(*)::int4 as n from presence where device_id like 'many-%' group by 1`,
  );
  return Object.fromEntries(found.map(({ key, n }) => [key, n]));
}

async function one(deviceId: string): Promise<string> {
  const [row] = await rows<{ status: string; reason: string }>(
    `select status, reason from presence where device_id = '${deviceId}'`,
  );
  return row === undefined ? 'unknown' : `${row.status}: ${row.reason}`;
}

async function untilOnline(deviceIds: readonly string[]): Promise<void> {
  await eventually(
    async () =>
      expect(
        await rows(`select from presence where status = 'online' and device_id in ('${deviceIds.join("', '")}')`),
      ).toHaveLength(deviceIds.length),
    waiting,
  );
}

const ending = new AbortController();
cleanUp(() => ending.abort());

/** Resolves with the presence that a device has now; what it has from then on is added, each change once. */
async function follow(deviceId: string): Promise<readonly string[]> {
  const seen: string[] = [];
  const look = async (): Promise<void> => {
    const now = await one(deviceId);
    if (seen.at(-1) !== now) seen.push(now);
  };
  await look();
  void (async () => {
    // A look that fails, as on a database that is slow for a moment, does not end the following ones.
    for await (const _ of every(100, undefined, { signal: ending.signal })) await look().catch(() => {});
  })().catch(() => {});
  return seen;
}

describe('presence of devices', async () => {
  const [first, second] = (await startEdges(2)) as [ServiceProcess, ServiceProcess];

  it('is not offline when an old session on another edge ends late', async () => {
    const old = await connect(first, 'press-7');
    await connect(second, 'press-7', 'boot-2');
    const sessions = `select from connections where device_id = 'press-7'`;
    await eventually(async () => expect(await rows(sessions)).toHaveLength(2), waiting);
    old.close(1000);
    await eventually(
      async () => expect(await rows(`${sessions} and reason = 'closed-by-device'`)).toHaveLength(1),
      waiting,
    );
    expect(await one('press-7')).toBe('online: connected');
  });

  it('names why a connection ended', async () => {
    (await connect(first, 'closing')).close(1000);
    (await connect(first, 'cut')).terminate();
    await connect(first, 'twice');
    await connect(first, 'twice');
    const reasons = () => Promise.all(['closing', 'cut', 'twice'].map(one));
    await eventually(
      async () =>
        expect(await reasons()).toEqual(['offline: closed-by-device', 'offline: network', 'online: connected']),
      waiting,
    );
  });
});

// Their leases end at the same time.
describe('presence of the devices of an edge', { timeout: 120_000 }, async () => {
  const [killed, stopped, paused, other] = (await startEdges(4)) as [
    ServiceProcess,
    ServiceProcess,
    ServiceProcess,
    ServiceProcess,
  ];
  const devices = Array.from({ length: 100 }, (_, index) => `many-${index}`);
  let killedAt: number;
  let isStopped: Promise<unknown>;
  const seen: Record<string, readonly string[]> = {};
  beforeAll(async () => {
    await Promise.all(devices.map((deviceId) => connect(killed, deviceId)));
    await Promise.all([connect(stopped, 'of-stopped'), connect(paused, 'of-paused')]);
    await untilOnline(['of-stopped', 'of-paused', ...devices]);
    for (const deviceId of ['of-stopped', 'of-paused']) seen[deviceId] = await follow(deviceId);
    await killed.kill();
    killedAt = performance.now();
    paused.pause();
    isStopped = stopped.stop();
    // Half of the devices have found the other edge before the lease is over.
    await Promise.all(devices.slice(0, 50).map((deviceId) => connect(other, deviceId)));
  });

  it('that was killed ends within 15 s, and the devices are online again on another edge', async () => {
    await eventually(
      async () => expect(await presence()).toEqual({ 'online: connected': 50, 'offline: edge-lost': 50 }),
      waiting,
    );
    expect(performance.now() - killedAt).toBeLessThan(lostMsMax);

    await Promise.all(devices.slice(50).map((deviceId) => connect(other, deviceId)));
    await eventually(async () => expect(await presence()).toEqual({ 'online: connected': 100 }), waiting);
    const ends = await rows(
      `select ended_at is null as "isOpen", reason, count(*) as n, count(distinct edge) as edges from connections
       where device_id like 'many-%' group by 1, 2 order by 1`,
    );
    expect(ends).toEqual([
      { isOpen: false, reason: 'edge-lost', n: 100, edges: 1 },
      { isOpen: true, reason: null, n: 100, edges: 1 },
    ]);
  });

  it('that was stopped is kept for the time of a reconnect, and then names the stop', async () => {
    await isStopped;
    const all = ['online: connected', 'online: reconnecting', 'offline: instance-stopped'];
    await eventually(() => expect(seen['of-stopped']).toEqual(all), waiting);
  });

  it('that is paused beyond its lease ends; going on, the edge announces its sessions in a new generation', async () => {
    const followed = () => seen['of-paused'];
    await eventually(() => expect(followed()).toEqual(['online: connected', 'offline: edge-lost']), waiting);
    paused.resume();
    await eventually(async () => expect(await one('of-paused')).toBe('online: connected'), waiting);
    expect(await rows(`select generation, reason from connections where device_id = 'of-paused'`)).toEqual([
      { generation: 2, reason: null },
    ]);
  });

  it('continues after the worker was killed: another one continues from the stored state, and ends the connections of edges that were lost in between', async () => {
    await connect(paused, 'on-the-lost-edge');
    const closing = await connect(other, 'closing-then');
    await connect(other, 'staying');
    const all = () => Promise.all(['on-the-lost-edge', 'closing-then', 'staying'].map(one));
    await eventually(async () => expect(await all()).toEqual(Array(3).fill('online: connected')), waiting);
    await worker.kill();
    await paused.kill();
    closing.close(1000);
    await platform.start('persistence-worker');
    await eventually(
      async () => expect(await all()).toEqual(['offline: edge-lost', 'offline: closed-by-device', 'online: connected']),
      waiting,
    );
  });
});
