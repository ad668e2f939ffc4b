import { beforeEach, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { PartitionMissingError, classifyFailure } from '../src/failure.ts';
import { ensurePartitions, existingPeriods, maintainPartitions } from '../src/partitions.ts';
import { parseWeek, weekOf } from '../src/weeks.ts';
import { countReadings, forgetRetention, freshStore, open } from './fixture.ts';
import { day, monday, reading } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;

const clock = () => monday;

beforeEach(async () => {
  await pool.query('truncate sequence_blocks');
  const { rows } = await pool.query<{ table: string }>(
    `select relname as table from pg_class where relkind = 'r' and relname like 'readings\\_%'`,
  );
  for (const { table } of rows) await pool.query(`drop table ${table}`);
  await forgetRetention(database);
});

describe('partitions', () => {
  it('are created on demand: weeks for twelve weeks back and all later ones, quarters before that', async () => {
    const boundary = monday - 12 * 7 * day;
    const times: [number, string][] = [
      [Date.UTC(2000, 0, 1), '20000101_20000401'],
      [Date.UTC(2012, 1, 29), '20120101_20120401'],
      [Date.UTC(2024, 11, 30), '20241001_20250101'],
      [boundary - 1, '20260701_20260824'],
      [boundary, '2026w35'],
      [monday - 1, '2026w46'],
      [monday, '2026w47'],
      [monday + 8 * day, '2026w48'],
    ];
    const batch = times.map(([ts], seq) => reading({ seq, ts }));
    expect(await createBatchWriter(pool, { clock }).write(batch)).toEqual({ stored: 8, duplicates: 0, conflicts: [] });
    const { rows } = await pool.query<{ name: string }>(
      `select tableoid::regclass::text as name from readings order by ts`,
    );
    expect(rows.map(({ name }) => name)).toEqual(times.map(([, name]) => `readings_${name}`));
  });

  it('are at most 120 for one batch with a reading in every week since 2000, and use few of the locks of the server', async () => {
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
    await createBatchWriter(pool, { clock }).write(batch);
    locks.done = true;
    await watch;
    expect((await existingPeriods(pool)).length).toBeLessThan(121);
    expect(locks.most).toBeLessThan(1_000);
  });

  it('fill the gaps between weeks of an older release, and never overlap', async () => {
    for (const week of ['2020w08', '2020w10', '2020w14']) await attachWeek(week);
    const times = [Date.UTC(2020, 0, 15), Date.UTC(2020, 1, 18), Date.UTC(2020, 1, 26), Date.UTC(2020, 2, 30)];
    await createBatchWriter(pool, { clock }).write(times.map((ts, seq) => reading({ seq, ts })));
    expect((await existingPeriods(pool)).map(({ name }) => name).filter((name) => name.startsWith('2020'))).toEqual([
      '20200101_20200217',
      '2020w08',
      '2020w09',
      '2020w10',
      '2020w14',
    ]);
    expect(await countReadings(database)).toBe(4);
  });

  it('are created in advance, and once', async () => {
    const ahead = { now: monday, weeksAhead: 2 };
    expect(await maintainPartitions(pool, ahead)).toEqual({ created: ['2026w47', '2026w48', '2026w49'], dropped: [] });
    expect(await maintainPartitions(pool, ahead)).toEqual({ created: [], dropped: [] });
  });

  it('can be created by several processes at the same moment', async () => {
    const times = Array.from({ length: 20 }, (_, index) => monday + (4 - index) * 14 * day);
    await Promise.all([1, 2, 3].map(() => ensurePartitions(pool, { times: times.toSorted(), now: monday })));
    const periods = await existingPeriods(pool);
    for (const time of times) expect(periods.filter(({ from, to }) => from <= time && time < to)).toHaveLength(1);
  });

  it('are created without waiting for transactions that read and write other partitions', async () => {
    await ensurePartitions(pool, { times: [monday], now: monday });
    const busy = await pool.connect();
    await busy.query('begin');
    await busy.query('select count(*) from readings');
    await busy.query('lock table readings in row exclusive mode');
    await ensurePartitions(pool, { times: [monday + 7 * day], now: monday });
    expect(await existingPeriods(pool)).toContainEqual(weekOf(monday + 7 * day));
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
    await createBatchWriter(pool, { clock }).write(batch);
    const { dropped } = await maintainPartitions(pool, { now: monday + 2 * day, weeksAhead: 0, retentionDays: 14 });
    expect(dropped).toEqual(['2026w44']);
    expect(await countReadings(database)).toBe(2);
  });

  it('are dropped also after an interrupted drop', async () => {
    await ensurePartitions(pool, { times: [monday - 21 * day, monday - 14 * day], now: monday });
    await pool.query('alter table readings detach partition readings_2026w44');
    const { dropped } = await maintainPartitions(pool, { now: monday, weeksAhead: 0, retentionDays: 7 });
    expect(dropped).toEqual(['2026w44', '2026w45']);
  });

  it('are attached again when retention has become longer', async () => {
    await createBatchWriter(pool, { clock }).write([reading()]);
    await pool.query('alter table readings detach partition readings_2026w47');
    await ensurePartitions(pool, { times: [monday], now: monday });
    expect(await countReadings(database)).toBe(1);
  });

  it('that disappear during a write are created by the next attempt', async () => {
    const writer = createBatchWriter(open(databaseUrl).pool, { clock });
    await writer.write([reading({ seq: 0 })]);
    await pool.query('drop table readings_2026w47');
    const failure = await writer.write([reading({ seq: 1 })]).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PartitionMissingError);
    expect(classifyFailure(failure)).toBe('retry-now');
    expect(await writer.write([reading({ seq: 1 })])).toEqual({ stored: 1, duplicates: 0, conflicts: [] });
  });
});

async function attachWeek(name: string): Promise<void> {
  const { from, to } = parseWeek(name)!;
  await pool.query(`create table readings_${name} (like readings including all)`);
  const [first, end] = [from, to].map((at) => new Date(at).toISOString());
  await pool.query(`alter table readings attach partition readings_${name} for values from ('${first}') to ('${end}')`);
}
