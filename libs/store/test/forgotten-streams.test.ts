import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { OlderThanRetentionError, StreamForgottenError, StreamLimitError, classifyFailure } from '../src/failure.ts';
import { forgetStreams } from '../src/forgotten-streams.ts';
import { gaps, sequencesOf } from '../src/gaps.ts';
import { insertDeadLetters } from '../src/dead-letters/insert.ts';
import { maintainPartitions } from '../src/partitions.ts';
import { hourOf } from '../src/rollups/horizon.ts';
import { countReadings, forgetRetention, freshStore, open } from './fixture.ts';
import { day, monday, reading, run } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;
const retentionDays = 30;

beforeEach(async () => {
  await pool.query(
    'truncate readings, sequence_blocks, device_latest, streams, devices, device_periods, dead_letters cascade',
  );
  await forgetRetention(database);
});

/** A writer whose day is that of `at`, in its own clock and in the blocks that it writes. */
function writerOn(at: number) {
  const writer = createBatchWriter(pool, { retentionDays, clock: () => at });
  return {
    write: async (batch: readonly IdentifiedReading[]) => {
      const written = await writer.write(batch);
      const streams = [...new Set(batch.map(({ deviceId, epoch }) => `${deviceId}/${epoch}`))];
      await pool.query(
        `update sequence_blocks b set written_on = $1 from streams s join devices d using (device_key)
         where b.stream_key = s.stream_key and d.device_id || '/' || s.epoch = any($2)`,
        [new Date(at).toISOString().slice(0, 10), streams],
      );
      return written;
    },
  };
}

async function epochs(): Promise<string[]> {
  const { rows } = await pool.query<{ epoch: string }>('select epoch from streams order by epoch');
  return rows.map(({ epoch }) => epoch);
}

async function maintain(now: number): Promise<number> {
  // As if their rollups were final: these days lie ahead of the clock of Postgres, by which no hour is closed early.
  await pool.query('update rollup_state set horizon = $1, raw_from = $1, final_until = $1', [hourOf(now)]);
  await maintainPartitions(pool, { now, weeksAhead: 0, retentionDays });
  await forgetRetention(database);
  return forgetStreams(pool, { now, retentionDays });
}

describe('a stream', () => {
  it('is forgotten with its blocks once all that it can name is past retention', async () => {
    await writerOn(monday).write(run(0, 3_000, { epoch: 'old' }));
    await writerOn(monday + 40 * day).write(run(0, 5, { epoch: 'new', ts: monday + 40 * day }));
    expect(await maintain(monday + 29 * day)).toBe(0);
    expect(await epochs()).toEqual(['new', 'old']);
    expect(await maintain(monday + 60 * day)).toBe(1);
    expect(await epochs()).toEqual(['new']);
    const { rows } = await pool.query<{ count: number }>('select count(*) from sequence_blocks');
    expect(rows[0]?.count).toBe(1);
    expect(await countReadings(database)).toBe(5);
    expect(await sequencesOf(database, { deviceId: 'device-1' })).toMatchObject([{ epoch: 'new', stored: 5 }]);
  });

  it('is not stored again by a resend, on any day of its life: its readings are duplicates until they are past retention', async () => {
    const batch = Array.from({ length: 20 }, (_, seq) => reading({ seq, ts: monday + seq * day }));
    await writerOn(monday + 20 * day).write(batch);
    for (let now = monday + 20 * day; now < monday + 100 * day; now += day) {
      await maintain(now);
      const writer = createBatchWriter(pool, { retentionDays, clock: () => now });
      const held = await countReadings(database);
      const kept = batch.filter(({ ts }) => ts >= now - retentionDays * day);
      expect(await writer.write(kept)).toEqual({ stored: 0, duplicates: kept.length, conflicts: [] });
      const gone = batch.filter(({ ts }) => ts < now - retentionDays * day);
      if (gone.length > 0)
        expect(await writer.write(gone).catch((error: unknown) => error)).toBeInstanceOf(OlderThanRetentionError);
      expect(await countReadings(database)).toBe(held);
    }
    expect(await epochs()).toEqual([]);
  });

  it('is kept while a late reading in it is within retention, without a gap where it was silent', async () => {
    await writerOn(monday).write(run(0, 3_000, { epoch: 'long' }));
    await writerOn(monday + 50 * day).write(run(3_000, 3_005, { epoch: 'long', ts: monday + 50 * day }));
    expect(await maintain(monday + 60 * day)).toBe(0);
    const streams = await sequencesOf(database, { deviceId: 'device-1' });
    expect(streams).toMatchObject([{ first: 0, last: 3_004, stored: 3_005 }]);
    expect(await gaps(database, { streams, deviceId: 'device-1', limit: 10 })).toEqual([]);
  });

  it('is kept while a dead letter names it, because a replay reads its outcome from the ledger', async () => {
    await writerOn(monday).write(run(0, 3, { epoch: 'dead' }));
    await insertDeadLetters(pool, [
      {
        id: 'one',
        type: 'reading.dead-lettered',
        schemaVersion: '1.0',
        occurredAt: monday,
        reason: 'refused-by-database',
        error: { code: '22P05', message: 'no' },
        fingerprint: 'f',
        attempts: 1,
        firstFailedAt: monday,
        lastFailedAt: monday,
        deviceId: 'device-1',
        epoch: 'dead',
        seq: 3,
        receivedAt: monday,
        payload: '{}',
        payloadEncoding: 'json',
      },
    ]);
    expect(await maintain(monday + 100 * day)).toBe(0);
    await pool.query('delete from dead_letters');
    expect(await maintain(monday + 100 * day)).toBe(1);
  });

  it('that a writer still knows is registered again by its next attempt, and its reading is visible', async () => {
    const writer = createBatchWriter(pool, { clock: () => monday });
    await writer.write(run(0, 3));
    await pool.query(`update sequence_blocks set written_on = '2020-01-01'`);
    await pool.query(`update streams set first_seen_at = '2020-01-01'`);
    await pool.query(`delete from readings`);
    expect(await forgetStreams(pool, { now: monday, retentionDays })).toBe(1);
    const failure = await writer.write(run(3, 5)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StreamForgottenError);
    expect(classifyFailure(failure)).toBe('retry-now');
    expect(await writer.write(run(3, 5))).toEqual({ stored: 2, duplicates: 0, conflicts: [] });
    const { rows } = await pool.query('select * from telemetry');
    expect(rows).toHaveLength(2);
  });

  it('in which a writer is storing at the same moment is kept', async () => {
    const writer = createBatchWriter(open(databaseUrl).pool, { clock: () => monday });
    await writer.write(run(0, 3));
    await pool.query(`update sequence_blocks set written_on = '2020-01-01'`);
    await pool.query(`update streams set first_seen_at = '2020-01-01'`);
    const busy = await pool.connect();
    await busy.query('begin');
    await busy.query(`update sequence_blocks set written_on = current_date`);
    const forgetting = forgetStreams(pool, { now: monday, retentionDays });
    await untilWaiting();
    await busy.query('commit');
    busy.release();
    expect(await forgetting).toBe(0);
    expect(await writer.write(run(0, 3))).toEqual({ stored: 0, duplicates: 3, conflicts: [] });
  });
});

describe('new streams of a device', () => {
  it('are bounded by the day of their arrival; the error names the readings, and known streams are stored', async () => {
    const writer = createBatchWriter(pool, { streamsPerDeviceDayMax: 3, clock: () => monday + 3 * day });
    const first = [1, 2, 3].map((n) => reading({ epoch: `boot-${n}`, receivedAt: monday + n }));
    expect(await writer.write(first)).toEqual({ stored: 3, duplicates: 0, conflicts: [] });
    const batch = [
      reading({ epoch: 'boot-4', receivedAt: monday + 4 }),
      reading({ epoch: 'boot-1', seq: 1, receivedAt: monday + 5 }),
      reading({ epoch: 'boot-4', deviceId: 'device-2', receivedAt: monday + 6 }),
    ];
    const failure = await writer.write(batch).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StreamLimitError);
    expect(classifyFailure(failure)).toBe('bad-data');
    expect((failure as StreamLimitError).readings).toEqual(new Set([batch[0]]));
    expect(await writer.write(batch.slice(1))).toEqual({ stored: 2, duplicates: 0, conflicts: [] });
    expect(await writer.write([{ ...batch[0]!, receivedAt: monday + day + 100 }])).toEqual({
      stored: 1,
      duplicates: 0,
      conflicts: [],
    });
  });

  it('are bounded within one batch', async () => {
    const writer = createBatchWriter(pool, { streamsPerDeviceDayMax: 3, clock: () => monday });
    const batch = Array.from({ length: 10 }, (_, n) => reading({ epoch: `boot-${n}`, receivedAt: monday + n }));
    const failure = await writer.write(batch).catch((error: unknown) => error);
    expect((failure as StreamLimitError).readings).toEqual(new Set(batch.slice(3)));
  });

  it('are counted once for each device, and not again in the minute after the bound is reached', async () => {
    const { writer, statements } = recordingWriter({ streamsPerDeviceDayMax: 200, clock: () => monday });
    const boots = (name: string, receivedAt: number) =>
      Array.from({ length: 200 }, (_, n) => reading({ epoch: `${name}-${n}`, receivedAt: receivedAt + n }));
    await writer.write(boots('known', monday));
    const flood = boots('flood', monday + 1_000);
    await expect(writer.write(flood)).rejects.toBeInstanceOf(StreamLimitError);
    const registering = statements.filter(({ text }) => text.includes('insert into streams'));
    expect(registering).toHaveLength(2);
    // Each known stream is counted once, and each new one is looked up: not 200 times 200.
    expect(await streamsScanned(registering[1]!)).toBeLessThan(1_000);

    const failure = await writer.write(boots('flood', monday + 50_000)).catch((error: unknown) => error);
    expect((failure as StreamLimitError).readings.size).toBe(200);
    expect(await writer.write(boots('known', monday + 50_000))).toMatchObject({ duplicates: 200 });
    await writer.write([reading({ deviceId: 'device-2', receivedAt: monday + 50_000 })]);
    await expect(writer.write(boots('flood', monday + 62_000))).rejects.toBeInstanceOf(StreamLimitError);
    const devices = statements
      .filter(({ text }) => text.includes('insert into streams'))
      .map(({ values }) => values[0]);
    expect(devices.slice(2)).toEqual([['device-2'], Array.from({ length: 200 }, () => 'device-1')]);
  });
});

interface Statement {
  readonly text: string;
  readonly values: unknown[];
}

/** A writer, and the statements that it has sent with parameters. */
function recordingWriter(options: Parameters<typeof createBatchWriter>[1]) {
  const statements: Statement[] = [];
  const recorded = open(databaseUrl);
  recorded.pool.on('connect', (client: pg.PoolClient) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    Object.assign(client, {
      query: (...args: unknown[]) => {
        if (typeof args[0] === 'string' && Array.isArray(args[1])) statements.push({ text: args[0], values: args[1] });
        return query(...args);
      },
    });
  });
  return { writer: createBatchWriter(recorded.pool, options), statements };
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly PlanNode[];
}

/** How many rows of `streams` the statement reads when it is run again, by EXPLAIN ANALYZE. */
async function streamsScanned({ text, values }: Statement): Promise<number> {
  const { rows } = await pool.query<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
    `explain (analyze, format json) ${text}`,
    values,
  );
  const scanned = (node: PlanNode): number => {
    const isScan = node['Relation Name'] === 'streams' && node['Node Type'].endsWith('Scan');
    const own = isScan ? node['Actual Rows'] * node['Actual Loops'] : 0;
    return own + (node.Plans ?? []).reduce((sum, plan) => sum + scanned(plan), 0);
  };
  return scanned(rows[0]!['QUERY PLAN'][0]!.Plan);
}

async function untilWaiting(): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())
       union all select from pg_locks l join pg_stat_activity a using (pid)
       where not l.granted and l.locktype = 'transactionid' and a.datname = current_database()`,
    );
    if (rows.length > 0) return;
  }
}
