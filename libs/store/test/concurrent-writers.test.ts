import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { classifyFailure } from '../src/failure.ts';
import { latestOfAll } from '../src/readers.ts';
import { countReadings, freshStore, open } from './fixture.ts';
import { day, monday, reading, second } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const devices = 40;
const readingsPerDevice = 250;

/** Every reading there is, over devices, boots, four weeks and several shapes. */
const all = Array.from({ length: devices * readingsPerDevice }, (_, index) => {
  const seq = Math.floor(index / devices);
  return reading({
    deviceId: `device-${index % devices}`,
    epoch: `boot-${seq % 2}`,
    seq: seq * 13,
    ts: monday + (seq % 4) * 7 * day + seq * second,
    metrics: { value: index, [`only-${index % 7}`]: index, state: 'ok' },
  });
});

describe('writers of the same readings', () => {
  it('store each identity once and without a deadlock when four write side by side', async () => {
    const writers = Array.from({ length: 4 }, () => createBatchWriter(open(databaseUrl, { poolMax: 2 }).pool));
    const counted = await Promise.all(
      writers.map(async (writer, who) => {
        let stored = 0;
        let duplicates = 0;
        for (const batch of batches(who)) {
          const written = await writer.write(batch);
          stored += written.stored;
          duplicates += written.duplicates;
        }
        return { stored, duplicates };
      }),
    );
    const sum = (of: 'stored' | 'duplicates') => counted.reduce((total, one) => total + one[of], 0);
    expect([sum('stored'), sum('duplicates')]).toEqual([all.length, 3 * all.length]);
    expect(await countReadings(database)).toBe(all.length);

    const { rows } = await database.pool.query<{ total: number; distinct: number }>(
      'select count(*) as total, count(distinct (device_id, epoch, seq)) as distinct from telemetry',
    );
    expect(rows[0]).toEqual({ total: all.length, distinct: all.length });
    const latest = await latestOfAll(database, { limit: 1_000 });
    for (const { deviceId, ts } of latest) {
      expect(ts).toBe(Math.max(...all.filter((one) => one.deviceId === deviceId).map((one) => one.ts)));
    }
  });

  it('lose nothing when the connection of one is terminated once in each batch', async () => {
    await database.pool.query('truncate readings, sequence_blocks, device_latest');
    const steady = createBatchWriter(open(databaseUrl, { poolMax: 1 }).pool);
    const unsteady = createBatchWriter(open(databaseUrl, { poolMax: 1, applicationName: 'unsteady' }).pool);
    const failures: unknown[] = [];
    await Promise.all([
      (async () => {
        for (const batch of batches(0)) await steady.write(batch);
      })(),
      (async () => {
        for (const [index, batch] of [...batches(1)].entries()) {
          // At another moment in each batch, and once only: a slow machine still gets every batch stored in the end.
          const terminated = database.pool.query(
            `select pg_terminate_backend(pid) from pg_stat_activity, pg_sleep($1) where application_name = 'unsteady'`,
            [(index % 10) / 1_000],
          );
          while (!(await unsteady.write(batch).catch((error: unknown) => void failures.push(error))));
          await terminated;
        }
      })(),
    ]);
    expect(failures.length).toBeGreaterThan(0);
    expect([...new Set(failures.map(classifyFailure))]).toEqual(['hold']);
    expect(await countReadings(database)).toBe(all.length);
  });
});

it('writers of different readings of the same devices never deadlock', async () => {
  const deviceIds = Array.from({ length: 60 }, (_, index) => `shared-${index}`);
  await Promise.all(
    [0, 1, 2, 3].map(async (who) => {
      const writer = createBatchWriter(open(databaseUrl, { poolMax: 1 }).pool);
      for (let seq = 0; seq < 60; seq++) {
        const order = who % 2 === 0 ? deviceIds : deviceIds.toReversed();
        const { stored } = await writer.write(order.map((deviceId) => reading({ deviceId, epoch: `of-${who}`, seq })));
        expect(stored).toBe(deviceIds.length);
      }
    }),
  );
});

/** The same readings to every writer, cut and ordered differently. */
function* batches(who: number) {
  const order = all.map((one, index) => ({ one, at: (index * (7 + who * 4)) % all.length }));
  order.sort((a, b) => a.at - b.at);
  const size = 300 + who * 70;
  for (let from = 0; from < order.length; from += size) yield order.slice(from, from + size).map(({ one }) => one);
}
