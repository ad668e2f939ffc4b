import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import {
  type StoredReading,
  type StoredReadingsQuery,
  latestOf,
  latestOfAll,
  readings,
  storeStatus,
} from '../src/readers.ts';
import { epochsOf, getDevice, listDevices } from '../src/registry/devices.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, reading, run, second } from './reading.ts';

const { database: writing, databaseUrl } = await freshStore();
const database = open(databaseUrl, { readOnly: true, pipelined: false, poolMax: 2, connectTimeoutMs: 1_000 });

beforeAll(async () => {
  const writer = createBatchWriter(writing.pool);
  await writer.write([
    ...run(0, 100, { deviceId: 'pump-1' }),
    // Ten readings of one instant, of two boots, around the border of a week.
    ...run(0, 5, { deviceId: 'pump-2', epoch: 'a', ts: monday }),
    ...run(0, 5, { deviceId: 'pump-2', epoch: 'b', ts: monday }),
    ...run(5, 10, { deviceId: 'pump-2', epoch: 'b', ts: monday - 1 }),
    reading({ deviceId: 'Fan_1', ts: monday, metrics: { speed: 3, state: 'on', place: { floor: 2 } } }),
    reading({ deviceId: 'Fan_1', seq: 1, ts: monday + 1, metrics: { state: 'off' } }),
    reading({ deviceId: 'Fan%1', ts: monday }),
  ]);
});

async function allPages(query: Omit<StoredReadingsQuery, 'after'>): Promise<StoredReading[]> {
  const found: StoredReading[] = [];
  for (;;) {
    const after = found.at(-1)?.position;
    const page = await readings(database, { ...query, after });
    if (page.length === 0) return found;
    found.push(...page);
  }
}

describe('devices', () => {
  it('are listed by id, page by page', async () => {
    const first = await listDevices(database, { limit: 2 });
    const second_ = await listDevices(database, { limit: 2, after: { deviceId: 'Fan_1' } });
    expect([...first, ...second_].map(({ deviceId }) => deviceId)).toEqual(['Fan%1', 'Fan_1', 'pump-1', 'pump-2']);
    expect(second_[0]).toMatchObject({ lastTs: monday + 99 * second, lastSeenAt: monday + 99 * second + 50 });
  });

  it('are found by a part of the id in any case, taken literally', async () => {
    const found = async (search: string) =>
      (await listDevices(database, { limit: 9, search })).map(({ deviceId }) => deviceId);
    expect(await found('PUMP')).toEqual(['pump-1', 'pump-2']);
    expect(await found('n_1')).toEqual(['Fan_1']);
    expect(await found('%')).toEqual(['Fan%1']);
    expect(await found('\\')).toEqual([]);
  });

  it('are found by the time of their last reading', async () => {
    const found = await listDevices(database, { limit: 9, seenSince: monday + 60 * second });
    expect(found.map(({ deviceId }) => deviceId)).toEqual(['pump-1']);
  });

  it('list their boots', async () => {
    expect(await getDevice(database, { deviceId: 'pump-2' })).toMatchObject({ deviceId: 'pump-2', lastTs: monday });
    expect(await epochsOf(database, { deviceId: 'pump-2' })).toMatchObject([
      { epoch: 'b', lastSeq: 9 },
      { epoch: 'a', lastSeq: 4 },
    ]);
    expect(await getDevice(database, { deviceId: 'pump-3' })).toBeUndefined();
  });
});

describe('latest state', () => {
  it('is that of each device, by id', async () => {
    const first = await latestOfAll(database, { limit: 3 });
    expect(first.map(({ deviceId }) => deviceId)).toEqual(['Fan%1', 'Fan_1', 'pump-1']);
    expect(first[2]).toEqual({
      deviceId: 'pump-1',
      ts: monday + 99 * second,
      receivedAt: monday + 99 * second + 50,
      metrics: { temperature: { ts: monday + 99 * second, value: 119 } },
      bytes: expect.any(Number),
    });
    expect(await latestOfAll(database, { limit: 3, after: 'pump-1' })).toMatchObject([{ deviceId: 'pump-2' }]);
  });

  it('has the time of each metric', async () => {
    expect((await latestOf(database, { deviceId: 'Fan_1' }))?.metrics).toEqual({
      speed: { ts: monday, value: 3 },
      state: { ts: monday + 1, value: 'off' },
      place: { ts: monday, value: { floor: 2 } },
    });
    expect(await latestOf(database, { deviceId: 'pump-3' })).toBeUndefined();
  });
});

describe('readings', () => {
  const always = { from: monday - day, to: monday + day };

  it('are those of a half-open range', async () => {
    const found = await readings(database, {
      deviceId: 'pump-1',
      from: monday + 10 * second,
      to: monday + 12 * second,
      limit: 10,
      order: 'asc',
    });
    expect(found).toMatchObject([
      {
        epoch: 'boot-1',
        seq: 10,
        ts: monday + 10 * second,
        receivedAt: monday + 10 * second + 50,
        metrics: { temperature: 30 },
      },
      { seq: 11 },
    ]);
  });

  it.each(['asc', 'desc'] as const)(
    'come whole and in one order page by page, also where timestamps are equal: %s',
    async (order) => {
      const query = { deviceId: 'pump-2', order, ...always };
      const whole = await readings(database, { ...query, limit: 100 });
      expect(whole).toHaveLength(15);
      for (const limit of [1, 2, 7]) expect(await allPages({ ...query, limit })).toEqual(whole);
      const identities = whole.map(({ ts, epoch, seq }) => [ts, epoch, seq]);
      expect(order === 'asc' ? identities : identities.reverse()).toEqual([
        ...[5, 6, 7, 8, 9].map((seq) => [monday - 1, 'b', seq]),
        ...[0, 1, 2, 3, 4].map((seq) => [monday, 'a', seq]),
        ...[0, 1, 2, 3, 4].map((seq) => [monday, 'b', seq]),
      ]);
    },
  );

  it('have only the metrics asked for, and are left out where they have none of them', async () => {
    const found = async (...metrics: string[]) =>
      (await readings(database, { deviceId: 'Fan_1', metrics, limit: 9, order: 'asc', ...always })).map(
        (one) => one.metrics,
      );
    expect(await found('speed')).toEqual([{ speed: 3 }]);
    expect(await found('state')).toEqual([{ state: 'on' }, { state: 'off' }]);
    expect(await found('speed', 'place', 'nothing')).toEqual([{ speed: 3, place: { floor: 2 } }]);
    expect(await found()).toEqual([]);
  });

  it('of an unknown device are none', async () => {
    expect(await readings(database, { deviceId: 'x', limit: 9, order: 'asc', ...always })).toEqual([]);
  });
});

it('the status counts devices, readings and dead letters', async () => {
  // A backend reports the rows it wrote within a second; those reported after an `analyze` are counted twice until the next.
  await eventually(async () => {
    await writing.pool.query('analyze');
    expect(await storeStatus(database)).toEqual({
      devices: { count: 4, exact: true },
      deadLetters: { count: 0, exact: true },
      readings: { count: 118, exact: false },
      lastReceivedAt: monday + 99 * second + 50,
    });
  });
});

it('cannot write', async () => {
  await expect(database.pool.query(`insert into devices (device_id) values ('x')`)).rejects.toMatchObject({
    code: '25006',
  });
});

describe('a reader that is aborted', () => {
  const query = { deviceId: 'pump-1', from: 0, to: monday + day, limit: 10, order: 'asc' } as const;
  const reason = new Error('too slow');

  /** Makes the reader wait until the test is over. */
  async function blockReaders() {
    const blocker = await writing.pool.connect();
    await blocker.query('begin');
    await blocker.query('lock table readings in access exclusive mode');
    onTestFinished(async () => {
      await blocker.query('rollback');
      blocker.release();
    });
  }

  const running = async () =>
    (
      await writing.pool.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
    ).rowCount;

  it('throws the reason immediately, and its query ends', async () => {
    await blockReaders();
    const abort = new AbortController();
    const found = readings(database, { ...query, signal: abort.signal });
    await expect.poll(running).toBe(1);
    abort.abort(reason);
    await expect(found).rejects.toBe(reason);
    await expect.poll(running).toBe(0);
    expect(await latestOf(database, { deviceId: 'pump-1' })).toBeDefined();
  });

  it('frees its connection also while the network is stalled', async () => {
    const url = new URL(databaseUrl);
    const proxy = await startFaultProxy({ host: url.hostname, port: Number(url.port || 5432) });
    onTestFinished(() => proxy.stop());
    url.host = `127.0.0.1:${proxy.port}`;
    const distant = open(url.href, { poolMax: 1, pipelined: false, connectTimeoutMs: 1_000 });
    await readings(distant, query);
    proxy.stall();
    await expect(readings(distant, { ...query, signal: AbortSignal.timeout(100) })).rejects.toThrow(
      'aborted due to timeout',
    );
    proxy.resume();
    expect(await readings(distant, query)).toHaveLength(10);
  });

  it('does not start a query when the signal is aborted already', async () => {
    await expect(readings(database, { ...query, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('leaves the queue for a connection', async () => {
    const taken = [await database.pool.connect(), await database.pool.connect()];
    const abort = new AbortController();
    const found = readings(database, { ...query, signal: abort.signal });
    abort.abort(reason);
    await expect(found).rejects.toMatchObject({ name: 'PoolWaitError', cause: reason });
    for (const client of taken) client.release();
    expect(await readings(database, query)).toHaveLength(10);
  });
});
