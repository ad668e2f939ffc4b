import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { describe, expect, it } from 'vitest';
import { beginningOfCommits, type CommitPosition } from '../src/commit-order.ts';
import { insertDevice, updateDevice } from '../src/registry/changes.ts';
import { getDevice, type RegistryState } from '../src/registry/devices.ts';
import { deviceEventsAfter, lastEventOfDevice, type StoredDeviceEvent } from '../src/registry/events.ts';
import { freshStore, open } from './fixture.ts';

const { database, databaseUrl } = await freshStore();

const blank: RegistryState = {
  name: null,
  type: null,
  status: 'active',
  tags: [],
  location: null,
  metadata: {},
  expectedIntervalMs: null,
  erasedBefore: null,
};

async function readAll(from: CommitPosition, limit = 2) {
  let position = from;
  const events: StoredDeviceEvent[] = [];
  for (;;) {
    const page = await deviceEventsAfter(database, { position, limit });
    events.push(...page.events);
    position = page.position;
    if (page.complete) return { events, position };
  }
}

const register = (deviceId: string) =>
  insertDevice(database, { deviceId, type: 'device.registered', actor: 'ada', state: blank, patch: {} });

describe('device events in commit order', () => {
  it('are not skipped when a transaction that began earlier commits later', async () => {
    await register('first');
    const writing = open(databaseUrl, { pipelined: false, poolMax: 1 });
    const slow = await writing.pool.connect();
    await slow.query('begin');
    await slow.query(`insert into devices (device_id, version) values ('slow', 1)`);
    await slow.query(
      `insert into device_events (device_key, version, type, actor, state)
       select device_key, 1, 'device.registered', 'ada', '{}' from devices where device_id = 'slow'`,
    );
    await register('second');
    const before = await readAll(beginningOfCommits);
    expect(before.events.map(({ deviceId }) => deviceId)).toEqual(['first', 'second']);
    await slow.query('commit');
    slow.release();
    await register('third');
    const after = await readAll(before.position);
    expect(after.events.map(({ deviceId }) => deviceId).sort()).toEqual(['slow', 'third']);
    expect((await readAll(after.position)).events).toEqual([]);
  });

  it('reach a reader exactly once while writers commit, roll back and stay open', async () => {
    const start = (await readAll(beginningOfCommits)).position;
    const writing = open(databaseUrl, { pipelined: false, poolMax: 6 });
    const written = new Set<string>();
    const writers = Array.from({ length: 5 }, async (_, writer) => {
      for (let turn = 0; turn < 30; turn += 1) {
        const deviceId = `w${writer}-${turn}`;
        const client = await writing.pool.connect();
        await client.query('begin');
        await client.query('insert into devices (device_id, version) values ($1, 1)', [deviceId]);
        await client.query(
          `insert into device_events (device_key, version, type, actor, state)
           select device_key, 1, 'device.registered', 'ada', '{}' from devices where device_id = $1`,
          [deviceId],
        );
        await sleep((writer * 7 + turn * 3) % 20);
        const isKept = (writer + turn) % 4 > 0;
        await client.query(isKept ? 'commit' : 'rollback');
        client.release();
        if (isKept) written.add(deviceId);
      }
    });
    const seen: string[] = [];
    let isWriting = true;
    const reading = (async () => {
      let position = start;
      for (;;) {
        const isLast = !isWriting;
        const read = await readAll(position, 3);
        seen.push(...read.events.map(({ deviceId }) => deviceId));
        position = read.position;
        if (isLast) return;
      }
    })();
    await Promise.all(writers);
    isWriting = false;
    await reading;
    expect(seen.toSorted()).toEqual([...written].toSorted());
  });
});

it('can be followed by a role that may only read', async () => {
  const role = `reader_${randomUUID().replaceAll('-', '')}`;
  await database.pool.query(`create role ${role} in role pg_read_all_data`);
  cleanUp(() => database.pool.query(`drop role ${role}`));
  const reading = open(databaseUrl, { readOnly: true, pipelined: false, poolMax: 1 });
  await reading.pool.query(`set role ${role}`);
  const page = await deviceEventsAfter(reading, { position: beginningOfCommits, limit: 1 });
  expect(page.store).toMatch(/^\d+\/[0-9A-F]{8}$/);
  expect(page.events).toHaveLength(1);
});

describe('a change of a device', () => {
  it('is made once by two writers that have read the same version, and recorded once', async () => {
    await register('contended');
    const change = (actor: string) =>
      updateDevice(database, {
        deviceId: 'contended',
        type: 'device.updated',
        actor,
        state: { ...blank, name: actor },
        patch: { name: actor },
        expectedVersion: 1,
      });
    const made = await Promise.all(['ada', 'oscar'].map(change));
    expect(made.filter(Boolean)).toHaveLength(1);
    const device = await getDevice(database, { deviceId: 'contended' });
    expect(device?.version).toBe(2);
    expect(await lastEventOfDevice(database, { deviceId: 'contended' })).toMatchObject({
      version: 2,
      actor: device?.name,
      state: { name: device?.name },
    });
  });

  it('cannot be removed from the trail', async () => {
    await expect(database.pool.query('delete from device_events')).rejects.toThrow('append-only');
    await expect(database.pool.query(`update device_events set actor = 'other'`)).rejects.toThrow('append-only');
  });
});
