import { beforeAll, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { freshStore } from './fixture.ts';
import { monday, reading, run, second } from './reading.ts';

const { database } = await freshStore();
const { pool } = database;

beforeAll(async () => {
  const writer = createBatchWriter(pool);
  await writer.write([
    reading({ deviceId: 'fan', ts: monday, metrics: { speed: 2.5, load: 1, on: true, place: { floor: 2 } } }),
    reading({ deviceId: 'fan', seq: 1, ts: monday + 1, metrics: { state: 'ok' } }),
  ]);
  for (let device = 0; device < 20; device++) await writer.write(run(0, 1_000, { deviceId: `device-${device}` }));
  await pool.query('analyze');
});

async function plan(query: string): Promise<string> {
  const { rows } = await pool.query<Record<'QUERY PLAN', string>>(`explain ${query}`);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

describe('views for SQL', () => {
  it('telemetry shows readings with all their metrics', async () => {
    const { rows } = await pool.query(`select * from telemetry where device_id = 'fan' order by ts`);
    expect(rows).toEqual([
      {
        device_id: 'fan',
        epoch: 'boot-1',
        seq: 0,
        ts: monday,
        received_at: monday + 50,
        metrics: { speed: 2.5, load: 1, on: true, place: { floor: 2 } },
      },
      { device_id: 'fan', epoch: 'boot-1', seq: 1, ts: monday + 1, received_at: monday + 51, metrics: { state: 'ok' } },
    ]);
  });

  it('telemetry_values shows numbers', async () => {
    const { rows } = await pool.query(`select * from telemetry_values where device_id = 'fan' order by metric`);
    expect(rows).toEqual([
      { device_id: 'fan', ts: monday, metric: 'load', value: 1 },
      { device_id: 'fan', ts: monday, metric: 'speed', value: 2.5 },
    ]);
  });

  it.each(['telemetry', 'telemetry_values'])('%s finds one device and time by the index', async (view) => {
    const range = [monday + 10 * second, monday + 20 * second].map((at) => new Date(at).toISOString());
    const query = `select * from ${view} where device_id = 'device-7' and ts >= '${range[0]}' and ts < '${range[1]}'`;
    expect((await pool.query(query)).rowCount).toBe(10);
    const explained = await plan(query);
    expect(explained).toMatch(
      /Index Cond: \(\(r?[_\d]*\.?device_key = .*device_key\) AND \(.*ts >= .*\) AND \(.*ts < /,
    );
    expect(explained).not.toContain('Seq Scan on readings');
  });
});

describe('readings without a shape of their own', () => {
  const rows = async (query: string) => (await pool.query<Record<string, unknown>>(query)).rows;

  it('are in both views, with all their values, when no more shapes may be created', async () => {
    const [{ count } = { count: 0 }] = (await rows('select count(*) from shapes')) as { count: number }[];
    const bounded = createBatchWriter(pool, { shapesMax: count });
    const metrics = { [`new-${count}`]: 2.5, tiny: 5e-324, on: true, text: '7' };
    await bounded.write([
      reading({ deviceId: 'newcomer', ts: monday, metrics }),
      reading({ deviceId: 'newcomer', seq: 1, ts: monday + 1, metrics: { on: false } }),
    ]);
    expect(await rows(`select metrics from telemetry where device_id = 'newcomer' order by ts`)).toEqual([
      { metrics },
      { metrics: { on: false } },
    ]);
    expect(
      await rows(`select metric, value from telemetry_values where device_id = 'newcomer' order by value desc`),
    ).toEqual([
      { metric: `new-${count}`, value: 2.5 },
      { metric: 'tiny', value: 5e-324 },
    ]);
    const [counts] = await rows(`
      select (select count(*) from telemetry) as shown, (select count(*) from readings) as stored,
        (select count(*) from telemetry_values) as values_shown,
        (select sum(cardinality(numbers)) from readings) + 2 as values_stored`);
    expect(counts?.['shown']).toBe(counts?.['stored']);
    expect(counts?.['values_shown']).toBe(counts?.['values_stored']);
  });
});
