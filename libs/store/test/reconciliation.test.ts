import {
  type EdgeReport,
  edgeReportSchemaVersion,
  edgeReportType,
  minuteOf,
  startOfMinute,
} from '@fleetwire/contracts/edge-report';
import { replayHeader } from '@fleetwire/contracts/event';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { deleteReconciliationEntries, readReconciliationEntries, recordEdgeReport } from '../src/reconciliation.ts';
import { insertDeadLetters } from '../src/dead-letters/insert.ts';
import { maintainPartitions } from '../src/partitions.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, reading, run } from './reading.ts';

const { databaseUrl, database } = await freshStore();
const { pool } = database;
const writer = createBatchWriter(pool);
const minuteMs = 60_000;
let nextMinute = minuteOf(monday);

/** A minute that no other test uses. */
const freshMinute = (): number => (nextMinute += 10);
const booksOf = async (minute: number, deviceId?: string) =>
  readReconciliationEntries(database, {
    fromMinute: minute,
    toMinute: minute + 1,
    deviceId,
    recountedRowsMax: 1_000_000,
  });
const entry = async (minute: number, deviceId?: string) => (await booksOf(minute, deviceId)).minutes[0];

function report(of: {
  instanceId: string;
  sequence: number;
  isLast?: boolean;
  occurredAt: number;
  minute: number;
  deviceId?: string;
  accepted?: number;
}): EdgeReport {
  const { minute, deviceId, accepted = 1, ...rest } = of;
  const counts = { minute, accepted, rejected: 2, nacked: 3, unconfirmed: 1 };
  return {
    id: `${of.instanceId}/${of.sequence}`,
    type: edgeReportType,
    schemaVersion: edgeReportSchemaVersion,
    isLast: false,
    entries: [deviceId === undefined ? counts : { ...counts, deviceId }],
    ...rest,
  };
}

function deadLetter(of: { id: string; receivedAt: number; headers?: Record<string, unknown> }) {
  return {
    type: 'reading.dead-lettered',
    schemaVersion: '1.0',
    occurredAt: of.receivedAt,
    reason: 'invalid-reading',
    error: { code: 'x', message: 'x' },
    fingerprint: 'f',
    attempts: 1,
    firstFailedAt: of.receivedAt,
    lastFailedAt: of.receivedAt,
    deviceId: 'device-1',
    payload: '{}',
    payloadEncoding: 'json',
    ...of,
  } as const;
}

describe('reconciliation entries', () => {
  it('count new readings and duplicates of a batch by the minute of arrival', async () => {
    const minute = freshMinute();
    const receivedAt = startOfMinute(minute);
    const first = run(0, 10, { epoch: 'counted', receivedAt });
    await writer.write([...first, ...run(10, 13, { epoch: 'counted', receivedAt: receivedAt + minuteMs })]);
    await writer.write([...first.slice(0, 4), ...run(13, 15, { epoch: 'counted', receivedAt })]);
    await writer.write(first.slice(0, 3));
    expect(await entry(minute)).toMatchObject({ stored: 12, duplicates: 7, repeats: 0, rows: 12 });
    expect(await entry(minute + 1)).toMatchObject({ stored: 3, duplicates: 0, rows: 3 });
    expect(await entry(minute, 'device-1')).toMatchObject({ stored: 12, duplicates: 7 });
  });

  it('count a reading as replayed that was dead-lettered, and is stored when its message is delivered again', async () => {
    const minute = freshMinute();
    const receivedAt = startOfMinute(minute) + 123;
    const batch = run(0, 3, { epoch: 'back', receivedAt });
    const { epoch, seq } = batch[1]!;
    const letter = deadLetter({ id: 'back', receivedAt });
    await insertDeadLetters(pool, [
      { ...letter, epoch, seq },
      { ...letter, id: 'again', epoch, seq },
    ]);
    // The dead letter of another arrival of the same reading says nothing about this one.
    await insertDeadLetters(pool, [
      { ...letter, id: 'other', receivedAt: receivedAt + minuteMs, epoch, seq: batch[2]!.seq },
    ]);
    await writer.write(batch, 'repeat');
    expect(await entry(minute)).toMatchObject({ stored: 2, replayed: 1, rows: 3 });
  });

  it('count duplicates whose content differs as a part of the duplicates', async () => {
    const minute = freshMinute();
    const receivedAt = startOfMinute(minute);
    const batch = run(0, 4, { epoch: 'conflicting', receivedAt });
    await writer.write(batch);
    const changed = batch.slice(0, 3).map((one) => ({ ...one, metrics: { other: 1 } }));
    await writer.write([...changed, batch[3]!]);
    await writer.write([...changed, reading({ epoch: 'conflicting', seq: 9, receivedAt })]);
    await writer.write(changed, 'repeat');
    expect(await entry(minute)).toMatchObject({ stored: 5, duplicates: 7, repeats: 3, conflicting: 9, rows: 5 });
    expect(await entry(minute, 'device-1')).toMatchObject({ duplicates: 7, conflicting: 9 });
  });

  it('count duplicates of a repeated attempt and readings of a replay separately', async () => {
    const minute = freshMinute();
    const receivedAt = startOfMinute(minute);
    const batch = run(0, 4, { epoch: 'again', receivedAt });
    await writer.write(batch);
    await writer.write(batch, 'repeat');
    await writer.write(run(3, 6, { epoch: 'again', receivedAt }), 'replay');
    expect(await entry(minute)).toMatchObject({ stored: 4, replayed: 2, duplicates: 0, repeats: 5, rows: 6 });
  });

  it('do not count a batch that was rolled back', async () => {
    const minute = freshMinute();
    const bad = reading({
      epoch: 'bad',
      seq: 2,
      receivedAt: startOfMinute(minute),
      metrics: { text: 'half \uD800 a pair' },
    });
    await expect(
      writer.write([...run(0, 2, { epoch: 'bad', receivedAt: startOfMinute(minute) }), bad]),
    ).rejects.toThrow();
    expect(await entry(minute)).toBeUndefined();
  });

  it('agree with the rows when four writers write concurrently, without waiting for each other', async () => {
    const minute = freshMinute();
    const writers = Array.from({ length: 4 }, () => createBatchWriter(open(databaseUrl, { poolMax: 1 }).pool));
    await Promise.all(
      writers.map(async (one, index) => {
        for (let at = 0; at < 20; at++)
          await one.write(
            run(at * 50, at * 50 + 60, { epoch: `side-${index % 2}`, receivedAt: startOfMinute(minute) }),
          );
      }),
    );
    const counted = await entry(minute);
    expect(counted?.rows).toBe(2 * 1_010);
    expect(counted).toMatchObject({ stored: 2_020, duplicates: 4 * 20 * 60 - 2_020 });
  });

  it('show that a row was deleted by hand', async () => {
    const minute = freshMinute();
    await writer.write(run(0, 5, { epoch: 'deleted', receivedAt: startOfMinute(minute) }));
    await pool.query(`delete from readings where received_at = $1 and seq = 3`, [
      new Date(startOfMinute(minute)).toISOString(),
    ]);
    expect(await entry(minute)).toMatchObject({ stored: 5, rows: 4 });
  });

  it('count a dead letter once per arrival of its reading, however often it is delivered, and not when it is replayed', async () => {
    const minute = freshMinute();
    const receivedAt = startOfMinute(minute);
    const letter = deadLetter({ id: 'a', receivedAt });
    await insertDeadLetters(pool, [letter]);
    await insertDeadLetters(pool, [letter, deadLetter({ id: 'b', receivedAt })]);
    await insertDeadLetters(pool, [deadLetter({ id: 'a', receivedAt: receivedAt + 1 })]);
    await insertDeadLetters(pool, [deadLetter({ id: 'c', receivedAt, headers: { [replayHeader]: 'r' } })]);
    expect(await entry(minute)).toMatchObject({ dead: 3 });
    expect(await entry(minute, 'device-1')).toMatchObject({ dead: 3 });
    expect(await entry(minute, 'device-2')).toBeUndefined();
  });

  it('record a report of an ingest instance once, and name reports that never arrived', async () => {
    const minute = freshMinute();
    const occurredAt = startOfMinute(minute) + 1_000;
    const common = { instanceId: `edge-${minute}`, minute, occurredAt, deviceId: 'device-7' };
    expect(await recordEdgeReport(pool, report({ ...common, sequence: 1 }))).toBe(true);
    expect(await recordEdgeReport(pool, report({ ...common, sequence: 1 }))).toBe(false);
    await recordEdgeReport(pool, report({ ...common, sequence: 5, isLast: true, occurredAt: occurredAt + 5 }));
    await recordEdgeReport(pool, report({ ...common, sequence: 3 }));
    const books = await booksOf(minute);
    expect(books.minutes).toMatchObject([{ accepted: 3, rejected: 6, nacked: 9, unconfirmed: 3 }]);
    expect(books.edges).toEqual([
      {
        instanceId: common.instanceId,
        firstReportedAt: occurredAt,
        lastReportedAt: occurredAt + 5,
        isFinished: true,
        missingReports: [
          { from: 2, to: 2 },
          { from: 4, to: 4 },
        ],
      },
    ]);
    expect(await entry(minute, 'device-7')).toMatchObject({ accepted: 3 });
    await recordEdgeReport(pool, report({ instanceId: 'other', sequence: 1, occurredAt, minute, accepted: 9 }));
    expect((await booksOf(minute, 'device-7')).acceptedOfOthers).toBe(9);
  });

  it('keep the counts of rows dropped with their partition, and are deleted after their retention', async () => {
    const old = monday - 70 * day;
    await writer.write(run(0, 6, { epoch: 'old', ts: old, receivedAt: old }));
    await maintainPartitions(pool, { now: monday, weeksAhead: 0, retentionDays: 30 });
    expect(await entry(minuteOf(old))).toMatchObject({ stored: 6, dropped: 6, rows: 0 });
    await deleteReconciliationEntries(pool, minuteOf(old) + 1);
    expect(await entry(minuteOf(old))).toBeUndefined();
  });
});
