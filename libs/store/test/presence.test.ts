import type { DevicePresence } from '@fleetwire/contracts/presence';
import { beforeEach, describe, expect, it } from 'vitest';
import { asPresenceOwner, writePresence } from '../src/presence/write-presence.ts';
import { writeSending } from '../src/presence/write-sending.ts';
import { freshStore } from './fixture.ts';

const { database } = await freshStore();
const { pool } = database;
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

beforeEach(async () => {
  await pool.query('truncate devices, device_latest, presence, edges restart identity cascade');
});

interface Known {
  readonly expected?: number;
  readonly status?: string;
  /** How long ago its newest reading was received. */
  readonly readAgo?: number;
}

async function device(deviceId: string, { expected, status = 'active', readAgo }: Known = {}): Promise<void> {
  const { rows } = await pool.query<{ device_key: number }>(
    `insert into devices (device_id, expected_interval_ms, status) values ($1, $2, $3)
     on conflict (device_id) do update set expected_interval_ms = excluded.expected_interval_ms, status = excluded.status
     returning device_key`,
    [deviceId, expected ?? null, status],
  );
  if (readAgo === undefined) return;
  await pool.query(
    `insert into device_latest (device_key, ts, received_at, changed_from, metrics) values ($1, now(), $2, now(), '{}')
     on conflict (device_key) do update set received_at = excluded.received_at`,
    [rows[0]!.device_key, new Date(Date.now() - readAgo).toISOString()],
  );
}

async function sessions(deviceId: string, open: number, ago: number, reason?: DevicePresence['reason']): Promise<void> {
  const status = open > 0 ? 'online' : 'offline';
  const since = Date.now() - ago;
  await asPresenceOwner(pool, {
    worker: 'test',
    takesOver: true,
    step: async (client) => {
      await writePresence(client, [
        { deviceId, status, reason: reason ?? (open > 0 ? 'connected' : 'network'), since, sessions: open },
      ]);
    },
  });
}

/** Looks at all devices once, two at a time. */
async function look(): Promise<string[]> {
  const client = await pool.connect();
  const changed: string[] = [];
  try {
    for (let after = 0; ;) {
      const { changes, last } = await writeSending(client, { after, devicesMax: 2 });
      changed.push(...changes.map(({ deviceId, status, reason }) => `${deviceId} ${status}: ${reason}`));
      if (last === undefined) return changed.toSorted();
      after = last;
    }
  } finally {
    client.release();
  }
}

async function sinceAgo(deviceId: string): Promise<number> {
  const { rows } = await pool.query<{ since: number }>('select since from presence where device_id = $1', [deviceId]);
  return Date.now() - rows[0]!.since;
}

describe('a device that is connected', () => {
  it('is stale when nothing came for 3 of its expected intervals, and online again with the next reading', async () => {
    await device('silent', { expected: 20 * second, readAgo: 70 * second });
    await device('slower', { expected: 30 * second, readAgo: 70 * second });
    await device('never-sent', { expected: 20 * second });
    await device('just-connected', { expected: 20 * second, readAgo: hour });
    for (const id of ['silent', 'slower', 'never-sent']) await sessions(id, 1, 2 * hour);
    await sessions('just-connected', 1, 5 * second);
    expect(await look()).toEqual(['never-sent stale: silent', 'silent stale: silent']);
    expect(await sinceAgo('silent')).toBeGreaterThanOrEqual(10 * second);
    expect(await sinceAgo('silent')).toBeLessThan(10 * second + minute);
    expect(await look()).toEqual([]);
    await device('silent', { expected: 20 * second, readAgo: second });
    expect(await look()).toEqual(['silent online: connected']);
    expect(await look()).toEqual([]);
  });

  it('is never stale within 30 s, without an expected interval, or out of service', async () => {
    await device('fast', { expected: 100, readAgo: 20 * second });
    await device('nothing-expected', { readAgo: hour });
    await device('in-maintenance', { status: 'maintenance', expected: 100, readAgo: hour });
    for (const id of ['fast', 'nothing-expected', 'in-maintenance']) await sessions(id, 1, 2 * hour);
    expect(await look()).toEqual([]);
  });

  it('is online when nothing is expected of it any more', async () => {
    await device('serviced', { expected: 100 });
    await sessions('serviced', 1, hour);
    expect(await look()).toEqual(['serviced stale: silent']);
    expect(await look()).toEqual([]);
    await device('serviced', { status: 'maintenance', expected: 100 });
    expect(await look()).toEqual(['serviced online: connected']);
  });

  it('stays stale when it connects once more, and is offline when its connections end, on whatever clock', async () => {
    await device('silent', { expected: 100, readAgo: minute });
    await sessions('silent', 1, hour);
    expect(await look()).toEqual(['silent stale: silent']);
    await sessions('silent', 2, hour);
    expect(await look()).toEqual([]);
    // The clock of the edge is behind.
    await sessions('silent', 0, 30 * minute);
    const { rows } = await pool.query('select status, reason from presence');
    expect(rows).toEqual([{ status: 'offline', reason: 'network' }]);
  });
});

describe('a device without a connection', () => {
  it('is online for 2 of its expected intervals after a reading, then offline, and stale after 3', async () => {
    await device('online', { expected: minute, readAgo: 100 * second });
    await device('away', { expected: minute, readAgo: 150 * second });
    await device('silent', { expected: minute, readAgo: 200 * second });
    await device('fast', { expected: 100, readAgo: 20 * second });
    await device('each-6-hours', { expected: 6 * hour, readAgo: 59 * minute });
    await device('each-6-hours-away', { expected: 6 * hour, readAgo: 61 * minute });
    await device('unexpected', { readAgo: 9 * minute });
    await device('unexpected-away', { readAgo: 11 * minute });
    await device('never-seen', { expected: 100 });
    expect(await look()).toEqual([
      'away offline: http',
      'each-6-hours online: http',
      'each-6-hours-away offline: http',
      'fast online: http',
      'online online: http',
      'silent stale: silent',
      'unexpected online: http',
      'unexpected-away offline: http',
    ]);
    expect(await look()).toEqual([]);
    await device('silent', { expected: minute, readAgo: second });
    expect(await look()).toEqual(['silent online: http']);
  });

  it('is offline for the reason of its last connection until it sends again', async () => {
    await device('gone', { expected: 100, readAgo: hour });
    await sessions('gone', 0, 59 * minute);
    expect(await look()).toEqual([]);
    await device('gone', { expected: 100, readAgo: second });
    expect(await look()).toEqual(['gone online: http']);
    // The late end of an older session.
    await sessions('gone', 0, 58 * minute, 'edge-lost');
    expect(await look()).toEqual([]);
  });

  it('is not online by readings that were erased', async () => {
    await device('erased', { readAgo: second });
    expect(await look()).toEqual(['erased online: http']);
    await pool.query('delete from device_latest');
    expect(await look()).toEqual(['erased offline: http']);
    expect(await look()).toEqual([]);
  });

  it('is left to the connections while it may reconnect to another instance', async () => {
    await device('deployed', { readAgo: second });
    await sessions('deployed', 0, minute, 'reconnecting');
    expect(await look()).toEqual([]);
  });
});

it('does not call a device silent whose readings may be queued', async () => {
  await device('queued', { expected: 100, readAgo: 10 * minute });
  await sessions('queued', 1, hour);
  await pool.query(
    `insert into edges (instance_id, last, numbered_before, complete_until) values ('in-1', 9, now(), now() - interval '11 min')`,
  );
  expect(await look()).toEqual([]);
  await pool.query('update edges set complete_until = null');
  expect(await look()).toEqual([]);
  await pool.query(`update edges set complete_until = now() - interval '1 min'`);
  expect(await look()).toEqual(['queued stale: silent']);
});
