import { setTimeout as sleep } from 'node:timers/promises';
import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { insertDeadLetters } from '../src/dead-letters/insert.ts';
import { createReplay } from '../src/dead-letters/replays.ts';
import { recordEdgePositions } from '../src/positions/edges.ts';
import { latestOf } from '../src/readers.ts';
import { updateDevice } from '../src/registry/changes.ts';
import { getDevice } from '../src/registry/devices.ts';
import { erasureOf, type ErasureSteps, eraseStep } from '../src/registry/erasures.ts';
import { countReadings, freshStore, open } from './fixture.ts';
import { day, monday, run, second } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;
const writer = createBatchWriter(pool);
const cutoff = monday + 100 * day;
const steps: ErasureSteps = { rowsMax: 100, settleMs: 0, passPauseMs: 0 };
const readingsOf = async (deviceId: string) => {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*) from readings join devices using (device_key) where device_id = $1',
    [deviceId],
  );
  return rows[0]?.count;
};

async function request(deviceId: string, erasedBefore = cutoff): Promise<void> {
  const device = (await getDevice(database, { deviceId }))!;
  const isDone = await updateDevice(database, {
    deviceId,
    type: 'device.erased',
    actor: 'grace',
    state: { ...device, status: 'retired', erasedBefore },
    patch: {},
    expectedVersion: device.version,
    erasureId: `erasure-${deviceId}-${device.version}`,
  });
  expect(isDone).toBe(true);
}

async function runUntilDone(of: Partial<ErasureSteps> = {}): Promise<number> {
  for (let count = 0; ; count += 1) if ((await eraseStep(pool, { ...steps, ...of })) === undefined) return count;
}

const letter = (id: string, of: Partial<DeadLetter> = {}): DeadLetter => ({
  id,
  schemaVersion: '1.0',
  occurredAt: monday,
  type: 'reading.dead-lettered',
  reason: 'refused-by-database',
  error: { code: '22P05', message: 'refused' },
  fingerprint: 'f',
  attempts: 1,
  firstFailedAt: monday,
  lastFailedAt: monday,
  receivedAt: monday,
  payload: '{}',
  payloadEncoding: 'json',
  ...of,
});
const identity = { epoch: 'e', seq: 1 };

let devices = 0;
let deviceId = '';
beforeEach(() => {
  deviceId = `erased-${(devices += 1)}`;
});

describe('erasing the readings of a device', () => {
  it('removes readings of all weeks, its latest state and its dead letters, and nothing of other devices', async () => {
    const sent = [
      ...run(0, 250, { deviceId }),
      ...run(0, 150, { deviceId, epoch: 'old', ts: monday - 30 * day, receivedAt: monday }),
    ];
    await writer.write([...sent, ...run(0, 250, { deviceId: 'bystander' })]);
    await insertDeadLetters(pool, [
      letter('its', { ...identity, deviceId }),
      letter('other', { ...identity, deviceId: 'bystander' }),
    ]);
    await request(deviceId);
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'running', readings: 0, finishedAt: null });
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({
      state: 'done',
      requestedBy: 'grace',
      readings: 400,
      deadLetters: 1,
      finishedAt: expect.any(Number),
    });
    expect([await readingsOf(deviceId), await readingsOf('bystander')]).toEqual([0, 250]);
    expect(await latestOf(database, { deviceId })).toBeUndefined();
    expect(await latestOf(database, { deviceId: 'bystander' })).toBeDefined();
    const { rows } = await pool.query<{ id: string }>('select id from dead_letters');
    expect(rows).toEqual([{ id: 'other' }]);
    expect(await getDevice(database, { deviceId })).toMatchObject({ status: 'retired', erasedBefore: cutoff });
    // The sequence ledger knows them still.
    expect(await writer.write(sent)).toEqual({ stored: 0, duplicates: 400, conflicts: [] });
    expect(await readingsOf(deviceId)).toBe(0);
  });

  it('removes what an operator has edited of its readings, and its conflicting duplicates', async () => {
    for (const of of [deviceId, 'neighbour']) {
      await writer.write(run(0, 2, { deviceId: of }));
      await writer.write(run(0, 2, { deviceId: of, metrics: { temperature: -1 } }));
      await insertDeadLetters(pool, [letter(`edited-${of}`, { ...identity, deviceId: of })]);
      await createReplay(database, {
        id: `replay-${of}`,
        source: 'edit',
        createdBy: 'grace',
        selection: { ids: [`edited-${of}`] },
        copy: { ...identity, deviceId: of, ts: monday, metrics: { temperature: 36.6 } },
        ratePerSecond: 1,
        max: 1,
        action: { action: 'edited', details: {} },
      });
    }
    await request(deviceId);
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'done', readings: 2, deadLetters: 1 });
    const { rows: copies } = await pool.query(`select copy ->> 'deviceId' as of from dead_letter_replays order by id`);
    expect(copies).toEqual([{ of: null }, { of: 'neighbour' }]);
    const { rows: conflicts } = await pool.query(
      'select device_id from sequence_conflicts join streams using (stream_key) join devices using (device_key)',
    );
    expect(conflicts).toEqual([{ device_id: 'neighbour' }]);
  });

  it('names dead letters of whole messages that hold the device, and leaves them, as others are in them', async () => {
    const message = (...ids: string[]) => ({
      payload: Buffer.from(`{"runs":[${ids.map((id) => `{"deviceId":"${id}"`).join()}`).toString('base64'),
      payloadEncoding: 'base64' as const,
      reason: 'unreadable' as const,
    });
    await insertDeadLetters(pool, [
      letter('whole', message('neighbour', deviceId)),
      letter('of-another', message(`${deviceId}0`)),
    ]);
    await writer.write(run(0, 1, { deviceId }));
    await request(deviceId);
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({ deadLetters: 0, deadLettersToReview: ['whole'] });
    const { rows } = await pool.query(`select from dead_letters where id in ('whole', 'of-another')`);
    expect(rows).toHaveLength(2);
  });

  it('is not done while an edge has not reported that everything received before the request is stored', async () => {
    const minute = 60 * second;
    const eraseBefore = Date.now() - 10 * minute;
    onTestFinished(async () => void (await pool.query('delete from edges')));
    const report = (numberedBefore: number) =>
      recordEdgePositions(
        pool,
        {
          id: 'r',
          schemaVersion: '1.1',
          type: 'ingest.accounted',
          occurredAt: Date.now(),
          instanceId: 'backlogged',
          sequence: 1,
          isLast: false,
          entries: [],
          positions: { last: 0, numberedBefore, intervalMs: 5_000, unsent: [], unconfirmed: [] },
        },
        0,
      );
    await report(eraseBefore - second);
    await writer.write(run(0, 10, { deviceId, receivedAt: eraseBefore - 2 * second }));
    await request(deviceId, eraseBefore);
    for (let step = 0; step < 5; step += 1) await eraseStep(pool, steps);
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'settling', readings: 10 });
    await writer.write(run(10, 15, { deviceId, receivedAt: eraseBefore - second }));
    await report(eraseBefore + 2 * minute);
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'done', readings: 15 });
  });

  it('keeps what was received after the request, and stores what is sent from then on', async () => {
    await writer.write(run(0, 10, { deviceId }));
    await request(deviceId);
    await writer.write(run(10, 20, { deviceId, receivedAt: cutoff + second }));
    await runUntilDone();
    expect(await readingsOf(deviceId)).toBe(10);
    await writer.write(run(20, 21, { deviceId, receivedAt: cutoff + 2 * second }));
    expect(await latestOf(database, { deviceId })).toMatchObject({ metrics: { temperature: { value: 40 } } });
  });

  it('removes readings that were acknowledged before the request and are stored after the first pass', async () => {
    await writer.write(run(0, 10, { deviceId }));
    await request(deviceId);
    const settling = { settleMs: 60 * 60_000 };
    while ((await eraseStep(pool, { ...steps, ...settling }))?.state !== 'settling');
    await writer.write(run(10, 15, { deviceId }));
    while ((await erasureOf(database, { deviceId }))?.readings !== 15) await eraseStep(pool, { ...steps, ...settling });
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'done', readings: 15 });
    expect([await readingsOf(deviceId), await latestOf(database, { deviceId })]).toEqual([0, undefined]);
  });

  it('is continued by others where a worker was killed, and each reading is counted once', async () => {
    await writer.write(run(0, 900, { deviceId }));
    await request(deviceId);
    const before = await countReadings(database);
    const killed = open(databaseUrl, { poolMax: 1, applicationName: 'to-be-killed', pipelined: false });
    const dying = (async () => {
      for (;;) await eraseStep(killed.pool, { ...steps, rowsMax: 10 });
    })().catch((error: unknown) => error);
    while (((await erasureOf(database, { deviceId }))?.readings ?? 0) < 50) await sleep(1);
    // Between two steps the pool opens another connection without a failure: then that one is ended.
    do {
      await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'to-be-killed'`,
      );
    } while ((await Promise.race([dying, sleep(1)])) === undefined);
    expect(await dying).toBeInstanceOf(Error);
    await Promise.all([runUntilDone({ rowsMax: 70 }), runUntilDone({ rowsMax: 30 })]);
    await runUntilDone();
    expect(await erasureOf(database, { deviceId })).toMatchObject({ state: 'done', readings: 900 });
    expect(await countReadings(database)).toBe(before - 900);
  });

  it('counts the erased readings of each minute, so that reconciliation does not miss them', async () => {
    const forgotten = async () =>
      (await pool.query('select coalesce(sum(readings), 0)::int4 as sum from books_forgotten')).rows[0].sum;
    const before = await forgotten();
    await writer.write(run(0, 130, { deviceId }));
    await request(deviceId);
    await runUntilDone();
    expect((await forgotten()) - before).toBe(130);
  });
});
