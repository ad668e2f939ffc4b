import { randomBytes } from 'node:crypto';
import { limits } from '@fleetwire/contracts/limits';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type BatchWriter, createBatchWriter } from '../src/batch-writer.ts';
import { OlderThanRetentionError, classifyFailure } from '../src/failure.ts';
import { latestOf, readings } from '../src/readers.ts';
import { getDevice } from '../src/registry/devices.ts';
import { countReadings, freshStore, open } from './fixture.ts';
import { day, monday, reading, run, second } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;
let writer: BatchWriter;

beforeEach(async () => {
  await pool.query('truncate readings, sequence_blocks, device_latest, sequence_conflicts, streams, devices');
  writer = createBatchWriter(pool);
});

function history(deviceId = 'device-1') {
  return readings(database, { deviceId, from: 0, to: monday + 1_000 * day, limit: 10_000, order: 'asc' });
}

describe('identity', () => {
  it('stores a batch once, however often it is written', async () => {
    const batch = run(0, 3_000);
    expect(await writer.write(batch)).toEqual({ stored: 3_000, duplicates: 0, conflicts: [] });
    expect(await writer.write(batch)).toEqual({ stored: 0, duplicates: 3_000, conflicts: [] });
    expect(await writer.write(run(2_990, 3_010))).toEqual({ stored: 10, duplicates: 10, conflicts: [] });
    expect(await countReadings(database)).toBe(3_010);
  });

  it('stores the first of two readings with the same identity in a batch', async () => {
    const batch = [reading({ seq: 7, metrics: { a: 1 } }), reading({ seq: 7, metrics: { a: 2 } })];
    expect(await writer.write(batch)).toEqual({
      stored: 1,
      duplicates: 1,
      conflicts: [{ deviceId: 'device-1', epoch: 'boot-1', seq: 7, storedTs: batch[0]!.ts, refusedTs: batch[0]!.ts }],
    });
    expect((await history()).map(({ metrics }) => metrics)).toEqual([{ a: 1 }]);
  });

  it('does not store an identity again with another timestamp', async () => {
    await writer.write([reading({ seq: 1, ts: monday })]);
    expect(await writer.write([reading({ seq: 1, ts: monday + 40 * day, metrics: { other: 1 } })])).toEqual({
      stored: 0,
      duplicates: 1,
      conflicts: [{ deviceId: 'device-1', epoch: 'boot-1', seq: 1, storedTs: monday, refusedTs: monday + 40 * day }],
    });
    expect(await latestOf(database, { deviceId: 'device-1' })).toMatchObject({
      ts: monday,
      metrics: { temperature: { ts: monday } },
    });
  });

  it('does not store a reading again after retention has dropped it', async () => {
    await writer.write([reading({ seq: 1 })]);
    await pool.query('truncate readings');
    expect(await writer.write([reading({ seq: 1 })])).toEqual({ stored: 0, duplicates: 1, conflicts: [] });
  });

  it('stores equal sequence numbers of different epochs and devices', async () => {
    const same = [reading(), reading({ epoch: 'boot-2' }), reading({ deviceId: 'device-2' })];
    expect(await writer.write(same)).toEqual({ stored: 3, duplicates: 0, conflicts: [] });
  });

  it('stores sparse, shuffled and the largest sequence numbers', async () => {
    const seqs = [9_007_199_254_740_991, 0, 5_000_000, 3, 1, 1_024, 1_023];
    expect(await writer.write(seqs.map((seq) => reading({ seq, ts: monday })))).toEqual({
      stored: 7,
      duplicates: 0,
      conflicts: [],
    });
    expect(await writer.write(seqs.map((seq) => reading({ seq, ts: monday + day })))).toMatchObject({
      stored: 0,
      duplicates: 7,
      conflicts: seqs.map((seq) => ({ seq, storedTs: monday, refusedTs: monday + day })),
    });
    expect((await history()).map(({ seq }) => seq)).toEqual([...seqs].sort((a, b) => a - b));
  });

  it('stores all readings of one timestamp', async () => {
    await writer.write(run(0, 5, { ts: monday }));
    expect(await countReadings(database)).toBe(5);
  });
});

describe('values', () => {
  it('are read back unchanged', async () => {
    const metrics = {
      double: 0.1 + 0.2,
      tiny: 5e-324,
      huge: -1.7976931348623157e308,
      negativeZero: -0,
      integer: 9_007_199_254_740_991,
      on: true,
      off: false,
      text: 'Grüße, "世界" \\ {1,2} \u{1F600}',
      empty: '',
      place: { lat: 52.5, tags: ['a', null, { deep: 1e-7 }] },
      toString: 1,
    };
    const times = { ts: monday + 1, receivedAt: monday + 123_456_789 };
    await writer.write([reading({ metrics, ...times }), reading({ seq: 1, ts: monday + 2, metrics: { on: true } })]);
    const [first, second_] = await history();
    expect(first).toMatchObject(times);
    expect(first?.metrics).toStrictEqual(metrics);
    expect(second_?.metrics).toStrictEqual({ on: true });
  });

  it('share a shape whatever the order of their names', async () => {
    await writer.write([reading({ seq: 0, metrics: { b: 1, a: 2 } }), reading({ seq: 1, metrics: { a: 3, b: 4 } })]);
    const { rows } = await pool.query('select distinct shape_key from readings');
    expect(rows).toHaveLength(1);
    expect((await history()).map(({ metrics }) => metrics)).toEqual([
      { a: 2, b: 1 },
      { a: 3, b: 4 },
    ]);
  });

  it('are stored as JSON once there are too many shapes', async () => {
    const { rows } = await pool.query<{ count: number }>('select count(*) from shapes');
    const bounded = createBatchWriter(pool, { shapesMax: (rows[0]?.count ?? 0) + 2 });
    const batch = run(0, 10).map((one, index) => ({ ...one, metrics: { [`random-${index}`]: index + 0.5, on: true } }));
    await bounded.write(batch);
    expect((await history()).map(({ metrics }) => metrics)).toEqual(batch.map(({ metrics }) => metrics));
    expect((await pool.query('select distinct shape_key from readings')).rows).toHaveLength(3);
    expect((await pool.query<{ count: number }>('select count(*) from shapes')).rows[0]?.count).toBe(
      (rows[0]?.count ?? 0) + 2,
    );
  });
});

describe('a device that sends ever new names of metrics', () => {
  const added = async (deviceId: string) =>
    (
      await pool.query<{ names: string[] }>(
        'select names from shapes join devices using (device_key) where device_id = $1 order by names',
        [deviceId],
      )
    ).rows.map(({ names }) => names.join());
  const random = (deviceId: string, from: number, to: number) =>
    run(from, to, { deviceId }).map((one) => ({ ...one, metrics: { [`${deviceId}-${one.seq}`]: one.seq } }));

  it('adds no more shapes than its bound, and the names of other devices still get one', async () => {
    const bounded = createBatchWriter(pool, { shapesPerDeviceMax: 3 });
    await bounded.write(random('noisy', 0, 2));
    await bounded.write([...random('noisy', 2, 20), ...random('quiet', 0, 2)]);
    await bounded.write(random('noisy', 20, 30));
    expect(await added('noisy')).toHaveLength(3);
    expect(await added('quiet')).toEqual(['quiet-0', 'quiet-1']);
    // A list that was refused to the one is added by the other.
    await bounded.write([reading({ deviceId: 'quiet', seq: 2, metrics: { 'noisy-29': 1 } })]);
    expect(await added('quiet')).toEqual(['noisy-29', 'quiet-0', 'quiet-1']);
    const { rows } = await pool.query(
      `select count(*) as all, count(*) filter (where shape_key = 0) as without from readings join devices using (device_key) where device_id = 'noisy'`,
    );
    expect(rows).toEqual([{ all: 30, without: 27 }]);
    // The bound holds after a restart too, and for the shapes that it added.
    const restarted = createBatchWriter(pool, { shapesPerDeviceMax: 3 });
    await restarted.write([
      ...random('noisy', 30, 40),
      reading({ deviceId: 'noisy', seq: 40, metrics: { 'noisy-0': 1 } }),
    ]);
    expect(await added('noisy')).toHaveLength(3);
    expect(restarted.shapes.count).toBe(
      (await pool.query<{ count: number }>('select count(*) from shapes')).rows[0]?.count,
    );
  });

  it('costs no statement more once its names are known to have no shape', async () => {
    const bounded = createBatchWriter(pool, { shapesPerDeviceMax: 1 });
    await bounded.write(random('steady', 0, 10));
    const query = vi.spyOn(pool, 'query');
    await bounded.write(random('steady', 0, 10).map((one) => ({ ...one, seq: one.seq + 100 })));
    // The statements of the transaction go to its own connection.
    expect(query).toHaveBeenCalledTimes(0);
    query.mockRestore();
  });
});

describe('latest state', () => {
  const latest = async () => {
    const state = await latestOf(database, { deviceId: 'device-1' });
    return Object.fromEntries(
      Object.entries(state?.metrics ?? {}).map(([name, { ts, value }]) => [name, [(ts - monday) / second, value]]),
    );
  };
  const write = (seq: number, seconds: number, metrics: Record<string, number>) =>
    writer.write([reading({ seq, ts: monday + seconds * second, metrics })]);

  it('keeps metrics that arrive at different times', async () => {
    await write(0, 10, { slow: 1 });
    await write(1, 20, { fast: 2 });
    expect(await latest()).toEqual({ slow: [10, 1], fast: [20, 2] });
  });

  it('is not overwritten by late data', async () => {
    await write(0, 100, { a: 1, b: 1 });
    await write(1, 50, { a: 2, c: 2 });
    expect(await latest()).toEqual({ a: [100, 1], b: [100, 1], c: [50, 2] });
  });

  it('is bounded in bytes: large values leave first, then the oldest', async () => {
    const size = async () =>
      (
        await pool.query<{ raw: number; stored: number }>(
          'select octet_length(metrics::text) as raw, pg_column_size(metrics) as stored from device_latest',
        )
      ).rows[0]!;
    const large = (seq: number) => ({ text: randomBytes(1_500).toString('hex'), seq });
    await writer.write([reading({ seq: 0, ts: monday, metrics: { temperature: 1 } })]);
    for (let seq = 1; seq <= 17; seq++) {
      const metrics = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`large-${seq}-${n}`, large(seq)]));
      await writer.write([reading({ seq, ts: monday + seq, metrics })]);
    }
    expect((await size()).raw).toBeLessThan(64 * 1_024);
    for (let seq = 18; seq < 78; seq++)
      await writer.write([reading({ seq, ts: monday + seq, metrics: { humidity: seq } })]);
    const names = Object.keys(await latest());
    expect(names).toEqual(expect.arrayContaining(['temperature', 'humidity', 'large-17-0']));
    expect(names).not.toContain('large-16-0');
    expect((await size()).stored).toBeLessThan(64 * 1_024);
    // A device whose first batch is that large is bounded too.
    await writer.write(
      run(0, 1, {
        deviceId: 'a',
        metrics: Object.fromEntries(names.concat(names.map((n) => `2-${n}`)).map((n) => [n, large(0)])),
      }),
    );
    const { rows } = await pool.query<{ raw: number }>(
      'select max(octet_length(metrics::text)) as raw from device_latest',
    );
    expect(rows[0]!.raw).toBeLessThan(64 * 1_024);
  });

  it('is not frozen by a reading far ahead of its arrival, which is stored', async () => {
    const hour = 3_600 * second;
    const at = (seq: number, ts: number, value: number) =>
      reading({ seq, ts, receivedAt: monday + seq * second, metrics: { a: value } });
    await writer.write([at(0, monday, 1), at(1, monday + 23 * hour, 99)]);
    expect(await latest()).toEqual({ a: [0, 1] });
    await writer.write([at(2, monday + 2 * second, 2)]);
    await writer.write([at(3, monday + 10 * hour, 98)]);
    expect(await latest()).toEqual({ a: [2, 2] });
    expect(await getDevice(database, { deviceId: 'device-1' })).toMatchObject({
      firstSeenAt: monday,
      lastSeenAt: monday + 3 * second,
      lastTs: monday + 2 * second,
    });
    // Ahead by as much as the bound is in order.
    await writer.write([at(4, monday + 4 * second + limits.latestAheadMaxMs, 3)]);
    expect(await latest()).toEqual({ a: [304, 3] });
    expect(await history()).toHaveLength(5);
  });

  it('does not exist while all readings of a device are ahead, although the device has been seen', async () => {
    for (const seq of [0, 1]) await writer.write([reading({ seq, ts: monday + day, receivedAt: monday + seq })]);
    expect(await latestOf(database, { deviceId: 'device-1' })).toBeUndefined();
    expect(await getDevice(database, { deviceId: 'device-1' })).toMatchObject({
      firstSeenAt: monday,
      lastSeenAt: monday + 1,
      lastTs: null,
    });
    await writer.write([reading({ seq: 2, ts: monday, receivedAt: monday + 2, metrics: { a: 1 } })]);
    expect(await latest()).toEqual({ a: [0, 1] });
  });

  it('takes the later arrival of equal timestamps, unless it is a resend', async () => {
    await write(0, 10, { a: 1 });
    await write(1, 10, { a: 2 });
    await write(0, 10, { a: 1 });
    expect(await latest()).toEqual({ a: [10, 2] });
  });

  it('takes only the new readings of a batch with duplicates', async () => {
    await write(1, 10, { a: 1 });
    await writer.write([
      reading({ seq: 1, ts: monday + 99 * second, metrics: { a: 9 } }),
      reading({ seq: 2, ts: monday + 20 * second, metrics: { a: 2 } }),
    ]);
    expect(await latest()).toEqual({ a: [20, 2] });
  });

  it('keeps the 1,024 newest metrics of a device', async () => {
    for (let part = 0; part < 12; part++) {
      const names = Array.from({ length: 100 }, (_, index) => [`name-${part}-${index}`, 1]);
      await write(part, part, Object.fromEntries(names) as Record<string, number>);
    }
    const names = Object.keys(await latest());
    expect(names).toHaveLength(1_024);
    expect(names).toContain('name-11-99');
    expect(names).not.toContain('name-0-0');
  });
});

describe('a batch that fails', () => {
  it.each(['NUL \0 in text', 'half a \ud800 pair'])('leaves nothing behind: %j', async (text) => {
    const bad = reading({ seq: 1, metrics: { text } });
    const failure = await writer.write([reading(), bad]).catch((error: unknown) => error);
    expect(classifyFailure(failure)).toBe('bad-data');
    expect(await countReadings(database)).toBe(0);
    expect(await writer.write([reading(), reading({ seq: 1 })])).toEqual({ stored: 2, duplicates: 0, conflicts: [] });
  });

  it('can be written again after its transaction was lost, and the cached keys are still valid', async () => {
    const batch = [...run(0, 100), ...run(0, 100, { deviceId: 'device-2', metrics: { new: 1 } })];
    const blocker = await open(databaseUrl, { poolMax: 1 }).pool.connect();
    await blocker.query('begin');
    await blocker.query('lock table sequence_blocks in exclusive mode');
    const writing = writer.write(batch).catch((error: unknown) => error);
    const waiting = `from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
    await expect.poll(async () => (await pool.query(`select ${waiting}`)).rowCount).toBe(1);
    await pool.query(`select pg_terminate_backend(pid) ${waiting}`);
    await blocker.query('rollback');
    blocker.release();
    expect(classifyFailure(await writing)).toBe('hold');
    expect(await countReadings(database)).toBe(0);
    expect(await writer.write(batch)).toEqual({ stored: 200, duplicates: 0, conflicts: [] });
    expect((await history('device-2')).map(({ metrics }) => metrics)).toEqual(
      batch.slice(100).map(({ metrics }) => metrics),
    );
  });

  it('closes its connection when a statement takes too long', async () => {
    const impatient = open(databaseUrl, { poolMax: 1, statementTimeoutMs: 200 });
    const { pid } = (await impatient.pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0] ?? {};
    const blocker = await pool.connect();
    await blocker.query('begin');
    await blocker.query('lock table sequence_blocks in exclusive mode');
    const failure = await createBatchWriter(impatient.pool)
      .write([reading()])
      .catch((error: unknown) => error);
    await blocker.query('rollback');
    blocker.release();
    expect(failure).toMatchObject({ code: '57014' });
    expect(classifyFailure(failure)).toBe('hold');
    expect((await impatient.pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid).not.toBe(pid);
  });

  it('is refused whole when readings in it are older than retention', async () => {
    const keeping = createBatchWriter(pool, { retentionDays: 30, clock: () => monday });
    const batch = [reading({ seq: 0 }), reading({ seq: 1, ts: monday - 31 * day }), reading({ seq: 2 })];
    const failure = await keeping.write(batch).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OlderThanRetentionError);
    expect(failure).toMatchObject({
      code: 'older-than-retention',
      message: expect.stringContaining('RETENTION_DAYS'),
      readings: new Set([batch[1]]),
    });
    expect(await countReadings(database)).toBe(0);
  });
});
