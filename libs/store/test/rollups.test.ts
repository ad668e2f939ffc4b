import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import fc from 'fast-check';
import type pg from 'pg';
import { expect, it, onTestFinished, vi } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { buildBackward } from '../src/rollups/backfill.ts';
import { buildMarked } from '../src/rollups/build-marked.ts';
import { buildForward } from '../src/rollups/build-range.ts';
import { closeRaw } from '../src/rollups/close-raw.ts';
import { OlderThanRetentionError } from '../src/failure.ts';
import { ensurePartitions, maintainPartitions } from '../src/partitions.ts';
import { updateDevice } from '../src/registry/changes.ts';
import { getDevice } from '../src/registry/devices.ts';
import { eraseStep } from '../src/registry/erasures.ts';
import { asBuilder, hourOf, moveHorizon, readRollupState, startOfHour } from '../src/rollups/horizon.ts';
import { readTileExceptions, readTileReadings } from '../src/rollups/read-rollups.ts';
import { dropOldRollups } from '../src/rollups/retention.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, run } from './reading.ts';
import { checkRollups } from './rollup-reference.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;
const writer = createBatchWriter(pool);
/** Finds no room for its combinations of names, so its readings have no shape. */
const shapeless = createBatchWriter(pool, { shapesPerDeviceMax: 0 });
const builder = await open(databaseUrl).pool.connect();
cleanUp(() => builder.release());
const firstHour = hourOf(monday);
const hours = 6;

/** Nothing is built, and nothing is marked. */
async function startAt(hour: number): Promise<void> {
  await pool.query('truncate readings, device_periods, tiles, rollup_1h, rollup_1m, rollup_marks');
  await pool.query(
    'update rollup_state set horizon = $1, built_from = $1, built_until = $1, raw_from = 0, final_until = 0',
    [hour],
  );
}

async function buildAll(): Promise<void> {
  while (await buildForward(builder));
  while (await buildMarked(builder, { quietMs: 0 }));
}

const numbers = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(1e15 + 0.5, -0, 0.1, 1e-300),
);
const values = fc.oneof(
  { weight: 8, arbitrary: numbers },
  fc.boolean(),
  fc.constantFrom('on', ''),
  fc.constant({ x: 1 }),
);
const drawnReadings = fc.array(
  fc.record({
    deviceId: fc.constantFrom('one', 'two'),
    epoch: fc.constantFrom('a', 'b'),
    ms: fc.oneof(
      fc.integer({ min: 0, max: startOfHour(hours) - 1 }),
      // One hour has enough for rollups of minutes, together with the regular ones.
      fc.integer({ min: 0, max: 600 }).map((step) => startOfHour(2) + step * 6_000),
    ),
    metrics: fc.oneof(
      fc.record({ a: values }),
      fc.record({ a: numbers, b: numbers }),
      fc.record({ b: numbers, 'c,d': values }),
    ),
    isShapeless: fc.boolean(),
  }),
  { minLength: 1, maxLength: 300, size: 'max' },
);

it('tiles of random histories have the rollups that their readings give, whether they were built in order, marked or built backwards', async () => {
  let round = 0;
  let clean = 0;
  let withMinutes = 0;
  await fc.assert(
    fc.asyncProperty(
      drawnReadings,
      fc.nat(hours),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (drawn, begun, share) => {
        round += 1;
        await startAt(firstHour + begun);
        const readings = drawn.map(({ isShapeless, ms, ...one }, seq) => ({
          isShapeless,
          reading: {
            ...one,
            deviceId: `${one.deviceId}-${round}`,
            seq,
            ts: monday + ms,
            receivedAt: monday + ms + 50,
          } satisfies IdentifiedReading,
        }));
        await writer.write(
          run(0, 800, { deviceId: `one-${round}`, epoch: 'dense' }).map((one) => ({
            ...one,
            ts: monday + startOfHour(2) + one.seq * 4_400,
            metrics: { a: (one.seq * 37) % 101, b: one.seq / 3 },
          })),
        );
        const write = async (part: typeof readings) => {
          await writer.write(part.filter((one) => !one.isShapeless).map(({ reading }) => reading));
          await shapeless.write(part.filter((one) => one.isShapeless).map(({ reading }) => reading));
        };
        const early = Math.round(readings.length * share);
        await write(readings.slice(0, early));
        await moveHorizon(builder, firstHour + hours);
        await buildAll();
        await write(readings);
        expect((await checkRollups(builder)).wrong).toEqual([]);
        await buildAll();
        while (await buildBackward(builder, { now: monday, hoursRetentionDays: 3_650 }));
        expect((await checkRollups(builder)).wrong).toEqual([]);
        await buildAll();
        const checked = await checkRollups(builder);
        expect(checked.wrong).toEqual([]);
        clean += checked.clean;
        withMinutes += await count('tiles', 'kind = 2');
      },
    ),
    { numRuns: Number(process.env['ROLLUPS_TEST_RUNS'] ?? 20) },
  );
  expect(clean).toBeGreaterThan(10);
  expect(withMinutes).toBeGreaterThan(10);
});

async function count(table: string, where = 'true'): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`select count(*) from ${table} where ${where}`);
  return rows[0]!.count;
}

it('readings in order mark nothing; late ones mark their tiles, which are read raw until they are built again', async () => {
  await startAt(firstHour + 1);
  await writer.write(run(0, 40, { deviceId: 'marked', epoch: 'in-order', ts: monday + startOfHour(1) }));
  expect(await count('rollup_marks')).toBe(0);
  await moveHorizon(builder, firstHour + 2);
  await buildAll();
  const { rows } = await pool.query<{ key: number }>(
    `select device_key as key from devices where device_id = 'marked'`,
  );
  const range = { deviceKeys: [rows[0]!.key], from: firstHour, to: firstHour + 3, exceptionsMax: 10 };
  expect(await readTileExceptions(builder, range)).toEqual([]);
  expect(await readTileReadings(builder, range)).toEqual({ readings: 40, hasMarks: false });

  await writer.write(run(0, 30, { deviceId: 'marked', epoch: 'late', ts: monday + startOfHour(1) }));
  await writer.write(run(30, 31, { deviceId: 'marked', epoch: 'late', ts: monday + startOfHour(1) }));
  const exceptions = await readTileExceptions(builder, range);
  expect(exceptions).toEqual([{ deviceKey: rows[0]!.key, hour: firstHour + 1, readings: 40 }]);
  expect(await readTileExceptions(builder, { ...range, exceptionsMax: 0 })).toBeUndefined();
  expect(await readTileReadings(builder, range)).toEqual({ readings: 40, hasMarks: true });
  expect(await count('rollup_marks', 'version = 2')).toBe(1);
  // Not while readings may still come for it.
  expect(await buildMarked(builder)).toBeUndefined();
  await buildAll();
  expect(await readTileExceptions(builder, range)).toEqual([]);
  expect(await readTileReadings(builder, range)).toEqual({ readings: 71, hasMarks: false });
  // A repeated batch changes nothing.
  await writer.write(run(0, 30, { deviceId: 'marked', epoch: 'late', ts: monday + startOfHour(1) }));
  expect(await count('rollup_marks')).toBe(0);
});

it('a tile that cannot be built is read raw, and does not keep others from being built', async () => {
  await startAt(firstHour);
  const numbers = (deviceId: string, a: number) =>
    writer.write(run(0, 20, { deviceId, epoch: 'unbuildable', ts: monday, metrics: { a } }));
  await numbers('good', 1);
  await numbers('huge', 1e308);
  await numbers('broken', 2);
  await pool.query(
    `update readings set others = '{"b": 1e400}' where device_key = (select device_key from devices where device_id = 'broken')`,
  );
  await moveHorizon(builder, firstHour + 1);
  await buildAll();
  const { rows } = await pool.query(
    'select device_id, kind, readings from tiles join devices using (device_key) order by 1',
  );
  expect(rows).toEqual([
    { device_id: 'broken', kind: 0, readings: 20 },
    { device_id: 'good', kind: 1, readings: 20 },
    { device_id: 'huge', kind: 0, readings: 20 },
  ]);
  expect(await count('rollup_1h')).toBe(1);
});

it('the horizon stays where it is while a transaction that changes readings is open, and says which session that is', async () => {
  await startAt(firstHour);
  const open = await pool.connect();
  try {
    await open.query('begin; select pg_advisory_xact_lock_shared(4602715114)');
    const { rows } = await open.query<{ pid: number }>('select pg_backend_pid() as pid');
    expect(await moveHorizon(builder, firstHour + 1)).toMatchObject({ pid: rows[0]!.pid, application: 'store-test' });
    expect((await readRollupState(builder)).horizon).toBe(firstHour);
    await open.query('commit');
  } finally {
    open.release();
  }
  expect(await moveHorizon(builder, firstHour + 1)).toBeUndefined();
  expect((await readRollupState(builder)).horizon).toBe(firstHour + 1);
});

it('a mover that is frozen after what it has sent keeps no writer waiting', async () => {
  await startAt(firstHour);
  const mover = await open(databaseUrl).pool.connect();
  const query = mover.query.bind(mover) as (...args: unknown[]) => Promise<unknown>;
  const sent: Promise<unknown>[] = [];
  Object.assign(mover, {
    query: (...args: unknown[]) => {
      if (sent.length > 0) return new Promise(() => {});
      sent.push(query(...args));
      return sent[0];
    },
  });
  void moveHorizon(mover, firstHour + 1);
  await Promise.all(sent);
  const { rows } = await pool.query(
    'select pg_try_advisory_xact_lock_shared(4602715114) as free, horizon from rollup_state',
  );
  mover.release(true);
  expect(rows).toEqual([{ free: true, horizon: firstHour + 1 }]);
});

it('one session builds at a time', async () => {
  const inside = await asBuilder(pool, () => asBuilder(pool, () => Promise.resolve('built')));
  expect(inside).toBeUndefined();
  expect(await asBuilder(pool, () => Promise.resolve('built'))).toBe('built');
});

it('readings past retention leave their rollups, also of tiles that were read raw, built late or not at all; rollups are dropped after their own retention', async () => {
  await startAt(hourOf(monday - 30 * day));
  const old = monday - 40 * day;
  const times = [old, monday - 21 * day];
  for (const [index, ts] of times.entries()) {
    await writer.write(run(0, 3, { deviceId: 'sparse', epoch: `retention-${index}`, ts, metrics: { a: 1.5 } }));
    await writer.write(run(0, 800, { deviceId: 'dense', epoch: `retention-${index}`, ts, metrics: { a: 1 } }));
  }
  await moveHorizon(builder, firstHour);
  await buildAll();
  // A mark that nothing has built yet.
  await writer.write(run(800, 810, { deviceId: 'dense', epoch: 'retention-1', ts: times[1]!, metrics: { a: 2 } }));
  await maintainPartitions(pool, { now: monday, weeksAhead: 0, retentionDays: 14 });
  expect(await count('readings')).toBe(0);
  const { rows } = await pool.query(
    `select device_id, kind, r.sum from tiles join devices using (device_key) join rollup_1h r using (device_key, hour) order by hour, device_id`,
  );
  expect(rows).toEqual([
    { device_id: 'dense', kind: 2, sum: 800 },
    { device_id: 'sparse', kind: 1, sum: 4.5 },
    { device_id: 'dense', kind: 2, sum: 820 },
    { device_id: 'sparse', kind: 1, sum: 4.5 },
  ]);
  expect(await count('rollup_marks')).toBe(0);
  const { rawFrom, finalUntil, builtFrom } = await readRollupState(builder);
  expect([rawFrom, finalUntil]).toEqual([hourOf(monday - 14 * day), hourOf(monday - 14 * day)]);
  expect(builtFrom).toBeLessThanOrEqual(finalUntil);
  const refused = await writer
    .write(run(5, 6, { deviceId: 'sparse', epoch: 'retention-0', ts: old }))
    .catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(OlderThanRetentionError);
  // The connection is as good as before.
  expect(await writer.write(run(0, 1, { deviceId: 'sparse', epoch: 'retention-2', ts: monday }))).toMatchObject({
    stored: 1,
  });

  // A year after the end of the quarter.
  const now = monday + 450 * day;
  await moveHorizon(builder, hourOf(now));
  const daysUntilNow = (Date.now() - now) / day;
  const dropped = await dropOldRollups(builder, {
    hoursRetentionDays: daysUntilNow + 800,
    minutesRetentionDays: daysUntilNow + 365,
  });
  expect(dropped).toEqual(['rollup_1m_2026q4']);
  expect(await count('rollup_1m')).toBe(0);
  expect((await readRollupState(builder)).minutesFrom).toBe(hourOf(Date.UTC(2027, 0, 1)));
  await dropOldRollups(builder, {
    hoursRetentionDays: daysUntilNow + 200,
    minutesRetentionDays: daysUntilNow + 200,
  });
  expect(await count('tiles')).toBe(0);
  expect(await count('rollup_1h')).toBe(0);
  await pool.query('update rollup_state set minutes_from = 0');
});

it('an erasure marks what it changes without delay, and deletes rollups of readings that are gone', async () => {
  await startAt(hourOf(monday - 30 * day));
  const deviceId = 'erased';
  // It has not seen the partitions that retention has dropped.
  const writer = createBatchWriter(pool);
  const past = monday - 21 * day;
  await writer.write(run(0, 50, { deviceId, epoch: 'past', ts: past, receivedAt: past, metrics: { a: 1 } }));
  await writer.write(
    run(0, 50, { deviceId, epoch: 'now', ts: monday - 2 * day, receivedAt: monday, metrics: { a: 1 } }),
  );
  await writer.write(run(0, 50, { deviceId: 'kept', epoch: 'past', ts: past, receivedAt: past, metrics: { a: 1 } }));
  await moveHorizon(builder, firstHour);
  await buildAll();
  await maintainPartitions(pool, { now: monday, weeksAhead: 0, retentionDays: 14 });
  expect(await count('rollup_1h')).toBe(3);
  const device = (await getDevice(database, { deviceId }))!;
  await updateDevice(database, {
    deviceId,
    type: 'device.erased',
    actor: 'grace',
    state: { ...device, status: 'retired', erasedBefore: monday + day },
    patch: {},
    expectedVersion: device.version,
    erasureId: 'erasure',
  });
  while (await eraseStep(pool, { rowsMax: 20, settleMs: 0, passPauseMs: 0 }));
  expect(await buildMarked(builder)).toMatchObject({ readings: 0 });
  const { rows } = await pool.query('select device_id from rollup_1h join devices using (device_key)');
  expect(rows).toEqual([{ device_id: 'kept' }]);
  expect(await count('tiles')).toBe(1);
  expect((await checkRollups(builder)).wrong).toEqual([]);
});

/** A session that ends with the test. */
async function session(): Promise<pg.PoolClient> {
  const client = await pool.connect();
  onTestFinished(() => client.release(true));
  return client;
}

it('marks that an open transaction holds keep the builder neither from others nor busy', async () => {
  await startAt(firstHour);
  const tiles = 51;
  const hour = startOfHour(1);
  await moveHorizon(builder, firstHour + tiles);
  await buildAll();
  await writer.write(
    run(0, tiles, { deviceId: 'held' }).map((one) => ({ ...one, epoch: 'held', ts: monday + one.seq * hour })),
  );
  const open = await session();
  await open.query('begin');
  const { rowCount } = await open.query('update rollup_marks set version = version + 1 where hour > $1', [firstHour]);
  expect(rowCount).toBe(tiles - 1);
  expect(await buildMarked(builder, { quietMs: 0 })).toMatchObject({ readings: 1 });
  expect(await buildMarked(builder, { quietMs: 0 })).toBeUndefined();
  await open.query('rollback');
  await buildAll();
  expect(await count('rollup_marks')).toBe(0);
});

const past = monday - 21 * day;
const retention = { now: monday, weeksAhead: 0, retentionDays: 14 };

/** Readings that `maintainPartitions(pool, retention)` drops. */
async function writePast(deviceId: string, epoch: string, names: readonly string[], readings = 1): Promise<void> {
  await startAt(hourOf(monday - 30 * day));
  const metrics = Object.fromEntries(names.map((name) => [name, 1]));
  // One that has not seen the partitions that retention has dropped.
  await createBatchWriter(pool).write(
    run(0, readings, { deviceId, epoch, metrics }).map((one) => ({ ...one, ts: past + one.seq })),
  );
}

const final = `select rollup_metrics.name from rollup_1h join rollup_metrics using (metric_key) join devices using (device_key) where device_id = 'final' order by 1`;

it('a tile that takes too long keeps its readings until its rollups are final', async () => {
  await writePast('final', 'slow', ['slow'], 3);
  onTestFinished(async () => void (await pool.query('drop function if exists slow cascade')));
  await pool.query(`
    create function slow() returns trigger language plpgsql as $$ begin raise exception 'slow' using errcode = '57014'; end $$;
    create trigger slow before insert on tiles for each row when (new.kind > 0) execute function slow()`);
  await expect(maintainPartitions(pool, retention)).rejects.toMatchObject({ code: '57014' });
  await pool.query('drop function slow cascade');
  expect(await count('readings')).toBe(3);
  await maintainPartitions(pool, retention);
  expect((await pool.query(final)).rows).toEqual([{ name: 'slow' }]);
});

it('final tiles with random names leave keys for the names of others', async () => {
  const random = Array.from({ length: 1_100 }, (_, index) => `random-${index}`);
  await writePast('final', 'random', [...random, 'slow']);
  await maintainPartitions(pool, retention);
  expect((await pool.query(final)).rows).toEqual([{ name: 'slow' }]);
  expect(await count('rollup_metrics', `name like 'random-%'`)).toBe(0);

  await pool.query(`insert into rollup_metrics (name) select 'taken-' || i from generate_series(1, 50000) as i`);
  await writePast('final', 'sparse', ['sparse-name'], 3);
  await maintainPartitions(pool, retention);
  expect((await pool.query(final)).rows).toEqual([]);
  await writePast('final', 'dense', ['dense-name'], 30);
  await maintainPartitions(pool, retention);
  expect((await pool.query(final)).rows).toEqual([{ name: 'dense-name' }]);
  await pool.query(`delete from rollup_metrics where name like 'taken-%'`);
});

it('retention that waits for an open transaction leaves writers a second between its tries', async () => {
  await writePast('final', 'waiting', ['a']);
  const open = await session();
  await open.query('begin; select pg_advisory_xact_lock_shared(4602715114)');
  const tries: number[] = [];
  const query = builder.query.bind(builder) as (...args: unknown[]) => Promise<unknown>;
  onTestFinished(() => void Object.assign(builder, { query }));
  const tried = new Promise<void>((resolve) => {
    Object.assign(builder, {
      query: (...args: unknown[]) => {
        if (String(args[0]).includes('pg_advisory_xact_lock(')) tries.push(performance.now());
        if (tries.length === 2) resolve();
        return query(...args);
      },
    });
  });
  const closed = closeRaw(builder, [{ from: hourOf(past), to: hourOf(past) + 1 }]);
  await tried;
  await open.query('commit');
  await closed;
  expect(tries[1]! - tries[0]!).toBeGreaterThan(900);
  expect((await readRollupState(builder)).finalUntil).toBe(hourOf(past) + 1);
});

it('rollups past retention that a reader or a writer holds are left for the next time', async () => {
  await startAt(hourOf(monday - 30 * day));
  await pool.query('insert into rollup_marks (device_key, hour) values (1, 1)');
  await pool.query(`
    create table tiles_2001q1 (like tiles including all);
    alter table tiles attach partition tiles_2001q1 for values from (${hourOf(Date.UTC(2001, 0, 1))}) to (${hourOf(Date.UTC(2001, 3, 1))})`);
  const keep = { hoursRetentionDays: 3_650, minutesRetentionDays: 3_650 };
  const open = await session();
  await open.query('begin; lock table tiles in access share mode; update rollup_marks set version = 2');
  expect(await dropOldRollups(builder, keep)).toEqual([]);
  await open.query('commit');
  expect(await dropOldRollups(builder, keep)).toEqual(['tiles_2001q1']);
  expect(await count('rollup_marks')).toBe(0);
  await pool.query('update rollup_state set minutes_from = 0');
});

it('a clock that is ahead of the one of Postgres closes no hour and drops no rollups', async () => {
  await startAt(firstHour);
  await writer.write(run(0, 30, { deviceId: 'ahead', epoch: 'ahead', ts: monday - startOfHour(1) }));
  await buildBackward(builder, { now: monday, hoursRetentionDays: 3_650 });
  expect(await count('tiles')).toBe(1);
  const before = await readRollupState(builder);
  await ensurePartitions(pool, { times: [Date.now() + 14 * day], now: Date.now() });
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 400 * day });
  try {
    await expect(maintainPartitions(pool, { now: Date.now(), weeksAhead: 0, retentionDays: 14 })).rejects.toThrow(
      'ahead of the one of Postgres',
    );
    await dropOldRollups(builder, { hoursRetentionDays: 30, minutesRetentionDays: 30 });
  } finally {
    vi.useRealTimers();
  }
  expect(await readRollupState(builder)).toMatchObject({ rawFrom: 0, horizon: before.horizon });
  expect(await count('tiles')).toBe(1);
  // As if retention had been a negative time: the limits stay below the horizon.
  await dropOldRollups(builder, { hoursRetentionDays: -400, minutesRetentionDays: -400 });
  const { minutesFrom, builtFrom, horizon } = await readRollupState(builder);
  expect([minutesFrom, builtFrom]).toEqual([horizon, horizon]);
  await pool.query('update rollup_state set minutes_from = 0');
});
