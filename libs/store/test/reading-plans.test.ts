import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { existingPeriods } from '../src/partitions.ts';
import { readings } from '../src/readers.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, reading } from './reading.ts';

const { database: writing, databaseUrl } = await freshStore();
const clock = () => monday + day;
const writer = createBatchWriter(writing.pool, { clock });
const quarters = Array.from({ length: 100 }, (_, index) => Date.UTC(2000, index * 3, 15));
await writer.write(quarters.map((ts, seq) => reading({ deviceId: 'everywhere', seq, ts })));
await writer.write([
  ...[0, 1, 2].map((seq) => reading({ deviceId: 'recent', seq })),
  reading({ deviceId: 'twice', seq: 0, ts: quarters[7]! }),
  reading({ deviceId: 'twice', seq: 1, ts: quarters[60]! }),
  reading({ deviceId: 'twice', seq: 2, ts: monday }),
]);

const database = open(databaseUrl, { readOnly: true, pipelined: false, poolMax: 1 });
const statements: { text: string; values: unknown[] }[] = [];
database.pool.on('connect', (client: pg.PoolClient) => {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  Object.assign(client, {
    query: (...args: unknown[]) => {
      if (typeof args[0] === 'string' && Array.isArray(args[1])) statements.push({ text: args[0], values: args[1] });
      return query(...args);
    },
  });
});

const always = { from: Date.UTC(2000, 0, 1), to: monday + 30 * day };

/** The partitions in the plans of all statements that one read has sent, by EXPLAIN. */
async function partitionsTouched(options: Partial<Parameters<typeof readings>[1]> & { deviceId: string }) {
  statements.length = 0;
  const found = await readings(database, { limit: 500, order: 'desc', ...always, ...options });
  const touched = new Set<string>();
  for (const { text, values } of statements.splice(0)) {
    const { rows } = await writing.pool.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${text}`, values);
    for (const row of rows) {
      const name = / on (readings_\w+)/.exec(row['QUERY PLAN'])?.[1];
      if (name !== undefined) touched.add(name);
    }
  }
  return { found: found.length, touched: [...touched].sort() };
}

describe('a read of one device, where another has filled a partition of every quarter since 2000', () => {
  it('plans for no partition without readings of the device', async () => {
    expect((await existingPeriods(writing.pool)).length).toBeGreaterThan(100);
    expect(await partitionsTouched({ deviceId: 'recent' })).toEqual({ found: 3, touched: ['readings_2026w47'] });
    expect(await partitionsTouched({ deviceId: 'twice' })).toEqual({
      found: 3,
      touched: ['readings_20011001_20020101', 'readings_20150101_20150401', 'readings_2026w47'],
    });
    expect(await partitionsTouched({ deviceId: 'unknown' })).toEqual({ found: 0, touched: [] });
  });

  it('plans for none outside its range, nor for those that its page does not reach', async () => {
    const within = { from: Date.UTC(2014, 0, 1), to: Date.UTC(2016, 0, 1) };
    expect(await partitionsTouched({ deviceId: 'twice', ...within })).toEqual({
      found: 1,
      touched: ['readings_20150101_20150401'],
    });
    expect(await partitionsTouched({ deviceId: 'twice', limit: 1 })).toEqual({
      found: 1,
      touched: ['readings_2026w47'],
    });
    const first = await partitionsTouched({ deviceId: 'everywhere', limit: 10 });
    expect(first.found).toBe(10);
    expect(first.touched.length).toBeLessThan(20);
  });

  it.each(['asc', 'desc'] as const)('still finds every reading, page by page: %s', async (order) => {
    for (const limit of [7, 1_000]) {
      const found: number[] = [];
      for (let after; ;) {
        const page = await readings(database, { deviceId: 'everywhere', order, limit, after, ...always });
        found.push(...page.map(({ ts }) => ts));
        after = page.at(-1)?.position;
        if (after === undefined) break;
      }
      expect(found).toEqual(order === 'asc' ? quarters : quarters.toReversed());
    }
  });
});
