import { beforeEach, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { PartitionMissingError, classifyFailure } from '../src/failure.ts';
import { ensurePartitions, existingWeeks, maintainPartitions } from '../src/partitions.ts';
import { weekOf } from '../src/weeks.ts';
import { countReadings, freshStore, open } from './fixture.ts';
import { day, monday, reading } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;

beforeEach(async () => {
  await pool.query('truncate sequence_blocks');
  await maintainPartitions(pool, { now: monday + 100 * 365 * day, weeksAhead: 0, retentionDays: 1 });
});

describe('partitions', () => {
  it('are created on demand, from the year 2000 to tomorrow', async () => {
    const times = [
      Date.UTC(2000, 0, 1),
      Date.UTC(2012, 1, 29),
      Date.UTC(2024, 11, 30),
      monday - 1,
      monday,
      Date.now() + day,
    ];
    const batch = times.map((ts, seq) => reading({ seq, ts }));
    expect(await createBatchWriter(pool).write(batch)).toEqual({ stored: 6, duplicates: 0 });
    const { rows } = await pool.query<{ name: string }>(
      `select tableoid::regclass::text as name from readings order by ts`,
    );
    expect(rows.map(({ name }) => name)).toEqual(times.map((ts) => `readings_${weekOf(ts).name}`));
  });

  it('are created for one batch with a reading in every week since 2000, without using up the locks of the server', async () => {
    const weeks = Math.floor((monday - Date.UTC(2000, 0, 3)) / (7 * day));
    const batch = Array.from({ length: weeks }, (_, seq) => reading({ seq, ts: Date.UTC(2000, 0, 3) + seq * 7 * day }));
    const locks = { most: 0, done: false };
    const watch = (async () => {
      while (!locks.done) {
        const { rows } = await pool.query<{ n: number }>(
          'select count(*)::int as n from pg_locks where database = (select oid from pg_database where datname = current_database())',
        );
        locks.most = Math.max(locks.most, rows[0]!.n);
      }
    })();
    await createBatchWriter(pool).write(batch);
    locks.done = true;
    await watch;
    // 64 for each of 100 connections: what a server with default settings has for all of them.
    expect(locks.most).toBeLessThan(6_400);
  }, 120_000);

  it('are created in advance, and once', async () => {
    const ahead = { now: monday, weeksAhead: 2 };
    expect(await maintainPartitions(pool, ahead)).toEqual({ created: ['2026w47', '2026w48', '2026w49'], dropped: [] });
    expect(await maintainPartitions(pool, ahead)).toEqual({ created: [], dropped: [] });
  });

  it('can be created by several processes at the same moment', async () => {
    const weeks = Array.from({ length: 8 }, (_, index) => weekOf(monday + index * 7 * day));
    await Promise.all([1, 2, 3].map(() => ensurePartitions(pool, weeks)));
    expect(await existingWeeks(pool)).toEqual(
      new Set([...weeks.map(({ from }) => from), weekOf(monday + 100 * 365 * day).from]),
    );
  });

  it('are created without waiting for transactions that read and write other partitions', async () => {
    await ensurePartitions(pool, [weekOf(monday)]);
    const busy = await pool.connect();
    await busy.query('begin');
    await busy.query('select count(*) from readings');
    await busy.query('lock table readings in row exclusive mode');
    await ensurePartitions(pool, [weekOf(monday + 7 * day)]);
    expect(await existingWeeks(pool)).toContain(weekOf(monday + 7 * day).from);
    const { rows } = await busy.query<{ mode: string }>(
      `select mode from pg_locks where pid = pg_backend_pid() and relation = 'readings'::regclass and granted`,
    );
    expect(rows.map(({ mode }) => mode)).toContain('RowExclusiveLock');
    await busy.query('rollback');
    busy.release();
  });

  it('are dropped when all their readings are older than retention', async () => {
    const batch = [
      reading({ seq: 0, ts: monday - 21 * day }),
      reading({ seq: 1, ts: monday - 14 * day }),
      reading({ seq: 2, ts: monday }),
    ];
    await createBatchWriter(pool).write(batch);
    const { dropped } = await maintainPartitions(pool, { now: monday + 2 * day, weeksAhead: 0, retentionDays: 14 });
    expect(dropped).toEqual(['2026w44']);
    expect(await countReadings(database)).toBe(2);
  });

  it('are dropped also after an interrupted drop', async () => {
    await ensurePartitions(pool, [weekOf(monday), weekOf(monday + 7 * day)]);
    await pool.query('alter table readings detach partition readings_2026w47');
    const { dropped } = await maintainPartitions(pool, { now: monday + 50 * day, weeksAhead: 0, retentionDays: 7 });
    expect(dropped).toEqual(['2026w47', '2026w48']);
  });

  it('are attached again when retention has become longer', async () => {
    await createBatchWriter(pool).write([reading()]);
    await pool.query('alter table readings detach partition readings_2026w47');
    await ensurePartitions(pool, [weekOf(monday)]);
    expect(await countReadings(database)).toBe(1);
  });

  it('that disappear during a write are created by the next attempt', async () => {
    const writer = createBatchWriter(open(databaseUrl).pool);
    await writer.write([reading({ seq: 0 })]);
    await pool.query('drop table readings_2026w47');
    const failure = await writer.write([reading({ seq: 1 })]).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PartitionMissingError);
    expect(classifyFailure(failure)).toBe('retry-now');
    expect(await writer.write([reading({ seq: 1 })])).toEqual({ stored: 1, duplicates: 0 });
  });
});
