import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { sequencesOf } from '../src/gaps.ts';
import { freshStore } from './fixture.ts';
import { day, monday, reading, run, second } from './reading.ts';

const { database } = await freshStore();
const { pool } = database;
const writer = createBatchWriter(pool);

let devices = 0;
/** Each test has a device of its own. */
const freshDevice = () => ({ deviceId: `conflict-${(devices += 1)}` });
const conflictsOf = async (batch: readonly IdentifiedReading[]) =>
  (await writer.write(batch)).conflicts.map(({ seq, storedTs, refusedTs }) => [seq, storedTs, refusedTs]);
const summary = async ({ deviceId }: { deviceId: string }) => (await sequencesOf(database, { deviceId }))[0];

const everyKind = { number: 0.1 + 0.2, zero: 0, on: true, text: 'Grüße', place: { lat: 52.5, tags: ['a', 1] } };

describe('a duplicate', () => {
  it.each([
    ['number', { ...everyKind, number: 0.3 }],
    ['zero with the other sign', { ...everyKind, zero: -0 }],
    ['boolean', { ...everyKind, on: false }],
    ['text', { ...everyKind, text: 'Grüsse' }],
    ['object', { ...everyKind, place: { lat: 52.5, tags: ['a', 2] } }],
    ['metric more', { ...everyKind, more: 1 }],
    ['metric less', { number: 0.1 + 0.2, zero: 0, on: true, text: 'Grüße' }],
    ['type', { ...everyKind, number: String(0.1 + 0.2) }],
    ['text that Postgres cannot store', { ...everyKind, text: 'a\0b' }],
  ])('with another %s is conflicting, and is not stored', async (_name, metrics) => {
    const device = freshDevice();
    await writer.write([reading({ ...device, metrics: everyKind })]);
    expect(await writer.write([reading({ ...device, metrics })])).toEqual({
      stored: 0,
      duplicates: 1,
      conflicts: [{ ...device, epoch: 'boot-1', seq: 0, storedTs: monday, refusedTs: monday }],
    });
  });

  it('with the same content is not conflicting, whatever the order of its names', async () => {
    const device = freshDevice();
    await writer.write([
      reading({ ...device, metrics: everyKind }),
      reading({ ...device, seq: 1, metrics: { z: -0 } }),
    ]);
    const { number, zero, on, text } = everyKind;
    const reordered = { place: { tags: ['a', 1], lat: 52.5 }, text, on, zero, number };
    expect(
      await conflictsOf([
        reading({ ...device, metrics: reordered }),
        reading({ ...device, seq: 1, metrics: { z: -0 } }),
      ]),
    ).toEqual([]);
  });

  it('with another device time is conflicting, wherever its reading lies among many', async () => {
    const device = freshDevice();
    // Readings of three boots, one after the other; the device keeps its second epoch and counts from 0 again.
    await writer.write(run(0, 2_000, { ...device, epoch: 'boot-0' }).map((one) => ({ ...one, ts: one.ts - day })));
    for (let seq = 0; seq < 20_000; seq += 2_000) await writer.write(run(seq, seq + 2_000, device));
    await writer.write(run(0, 2_000, { ...device, epoch: 'boot-2' }).map((one) => ({ ...one, ts: one.ts + day })));
    for (const seq of [0, 1, 1_023, 9_999, 19_999]) {
      const again = reading({ ...device, seq, ts: monday + 3 * day });
      expect(await conflictsOf([again])).toEqual([[seq, monday + seq * second, monday + 3 * day]]);
    }
    const buffered = run(7_000, 8_000, device).map((one) => ({ ...one, ts: one.ts + 2 * day }));
    expect(await conflictsOf(buffered)).toEqual(buffered.map(({ seq, ts }) => [seq, monday + seq * second, ts]));
  });

  it('in the batch of its reading is compared, too', async () => {
    const device = freshDevice();
    const first = reading({ ...device, seq: 7, metrics: { a: 1 } });
    const other = reading({ ...device, seq: 8, metrics: { a: 1 } });
    const batch = [first, { ...first, metrics: { a: 2 } }, first, other, { ...other, ts: monday }];
    expect(await conflictsOf(batch)).toEqual([
      [7, first.ts, first.ts],
      [8, other.ts, monday],
    ]);
  });

  it('is a plain one where the stored row is gone', async () => {
    const device = freshDevice();
    await writer.write(run(0, 10, device));
    await pool.query(
      `delete from readings where seq = 4 and device_key = (select device_key from devices where device_id = $1)`,
      [device.deviceId],
    );
    expect(await conflictsOf(run(0, 10, device))).toEqual([]);
    expect(await conflictsOf([reading({ ...device, seq: 4, ts: monday + day })])).toEqual([]);
    expect(await conflictsOf([reading({ ...device, seq: 5, ts: monday + day })])).toHaveLength(1);
  });

  it('is compared across layouts: with a shape, or as JSON beyond the bound of shapes', async () => {
    const [before, after] = [freshDevice(), freshDevice()];
    const bounded = createBatchWriter(pool, { shapesPerDeviceMax: 0 });
    const metrics = { layout: 0.1 + 0.2, tiny: 5e-324, huge: -1.7976931348623157e308, zero: -0, on: true };
    await bounded.write([reading({ ...before, metrics })]);
    await writer.write([reading({ ...after, metrics })]);
    const { rows } = await pool.query<{ shape_key: number }>(
      'select shape_key from readings join devices using (device_key) where device_id = any($1) order by device_id = $2 desc',
      [[before.deviceId, after.deviceId], before.deviceId],
    );
    expect([rows[0]?.shape_key === 0, rows[1]?.shape_key === 0]).toEqual([true, false]);
    for (const device of [before, after]) {
      for (const one of [writer, createBatchWriter(pool, { shapesPerDeviceMax: 0 })]) {
        expect((await one.write([reading({ ...device, metrics })])).conflicts).toEqual([]);
        for (const other of [
          { ...metrics, layout: 0.3 },
          { ...metrics, on: false },
          { ...metrics, more: 1 },
        ])
          expect((await one.write([reading({ ...device, metrics: other })])).conflicts).toHaveLength(1);
      }
    }
  });
});

describe('conflicting readings', () => {
  it('are counted for each stream, with the newest five', async () => {
    const device = freshDevice();
    await writer.write(run(0, 20, device));
    expect(await summary(device)).toMatchObject({ stored: 20, conflicting: 0, newestConflicts: [] });
    const refused = (seq: number) => reading({ ...device, seq, ts: monday + seq * second, metrics: { other: seq } });
    await writer.write([refused(0), refused(1), reading({ ...device, seq: 30 })]);
    await writer.write([3, 4, 5, 6].map(refused));
    expect(await summary(device)).toMatchObject({
      stored: 21,
      conflicting: 6,
      newestConflicts: [6, 5, 4, 3, 1].map((seq) => {
        const { ts, receivedAt } = refused(seq);
        return { seq, storedTs: ts, refusedTs: ts, receivedAt };
      }),
    });
  });

  it('are forgotten with their stream', async () => {
    const device = freshDevice();
    await writer.write([reading(device)]);
    await writer.write([reading({ ...device, metrics: { other: 1 } })]);
    const { rows } = await pool.query<{ stream_key: number }>(
      'select stream_key from streams join devices using (device_key) where device_id = $1',
      [device.deviceId],
    );
    const keys = rows.map((row) => row.stream_key);
    const left = async () =>
      (await pool.query('select from sequence_conflicts where stream_key = any($1)', [keys])).rowCount;
    expect(await left()).toBe(1);
    await pool.query('delete from sequence_blocks where stream_key = any($1)', [keys]);
    await pool.query('delete from streams where stream_key = any($1)', [keys]);
    expect(await left()).toBe(0);
  });

  it('are all found in a batch with many duplicates as soon as one of the sample differs', async () => {
    const device = freshDevice();
    await writer.write(run(0, 3_000, device));
    const half = run(0, 2_000, device).map((one) => (one.seq < 1_000 ? one : { ...one, metrics: { other: 1 } }));
    expect(await conflictsOf(half)).toHaveLength(1_000);
    // At most 2,000 are compared.
    expect(await conflictsOf(run(0, 3_000, { ...device, metrics: { other: 1 } }))).toHaveLength(2_000);
  });
});
