import { queues } from '@fleetwire/broker/topology';
import { edgeReportSchemaVersion, edgeReportType, minuteOf } from '@fleetwire/contracts/edge-report';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { openDatabase } from '@fleetwire/store/database';
import { describe, expect, it } from 'vitest';
import { type Harness, envelope, metric, readings, recordingLogger, untilEmpty, workerHarness } from './harness.ts';

/** `jsonb` has no NUL (Postgres documentation, 8.14), so Postgres rejects the reading. */
const rejected = { metrics: { text: 'a\0b' } };
const holding = 'holding: cannot write to Postgres';

interface Row {
  readonly device_id: string | null;
  readonly error_code: string;
  readonly payload: string;
  readonly payload_encoding: string;
}

async function deadLetters(harness: Harness): Promise<Row[]> {
  return harness.rows<Row>(`select *, convert_from(payload, 'UTF8') as payload from dead_letters order by created_at`);
}

function seqOf({ payload, payload_encoding }: Row): number {
  const value = JSON.parse(payload) as { seq: number; runs: { readings: { seq: number }[] }[] };
  return payload_encoding === 'json' ? value.seq : value.runs[0]!.readings[0]!.seq;
}

async function storeOneByOne(harness: Harness, deviceId: string, count: number): Promise<void> {
  for (let n = 1; n <= count; n += 1) {
    await harness.publish(envelope(readings(`${deviceId}-${n}`, 1)));
    await eventually(async () => expect(await harness.stored(`${deviceId}-${n}`)).toBe(1));
  }
}

it('an edge report that the broker has dead-lettered is entered for reconciliation, and is no dead letter', async () => {
  const harness = await workerHarness();
  await harness.worker();
  const now = Date.now();
  const report = {
    id: 'a3f1c5b2-6f0e-4a53-9c53-0f1d4f6f8a10',
    type: edgeReportType,
    schemaVersion: edgeReportSchemaVersion,
    occurredAt: now,
    instanceId: 'edge-1',
    sequence: 1,
    isLast: true,
    // Not in the past: the maintenance that starts with the worker deletes expired minutes.
    entries: [{ minute: minuteOf(now), deviceId: 'pump', accepted: 7, rejected: 0, nacked: 0, unconfirmed: 0 }],
  };
  await harness.publish(Buffer.from(JSON.stringify(report)), {
    type: edgeReportType,
    queue: queues.dead,
    headers: { 'x-first-death-reason': 'delivery_limit' },
  });
  await eventually(async () =>
    expect(await harness.rows('select device_id, accepted::int from books_accepted')).toEqual([
      { device_id: 'pump', accepted: 7 },
    ]),
  );
  await untilEmpty(harness);
  expect(await deadLetters(harness)).toEqual([]);
});

describe('a dead letter that Postgres refuses for its content', () => {
  it('is stored as raw bytes, and delays no readings', async () => {
    const { logger, messages } = await recordingLogger();
    const harness = await workerHarness({ logger });
    await harness.rows(`alter table dead_letters add constraint refusal check (device_id <> 'refused')`);
    const worker = await harness.worker();
    const [reading] = readings('refused', 1, () => rejected);
    await harness.publish(envelope([reading!]));
    await storeOneByOne(harness, 'good', 20);
    expect(messages).not.toContain(holding);
    await eventually(async () => expect(await deadLetters(harness)).toHaveLength(1));
    const [row] = await deadLetters(harness);
    expect(row).toMatchObject({ device_id: null, error_code: '23514', payload_encoding: 'base64' });
    const { deviceId, epoch, seq, ts, metrics, receivedAt } = reading!;
    // A replay publishes these bytes: they are an envelope again.
    expect(JSON.parse(row!.payload)).toMatchObject({
      runs: [{ deviceId, epoch, receivedAt, readings: [{ seq, ts, metrics }] }],
    });
    expect(await harness.rows('select device_id, dead::int from books_dead')).toEqual([{ device_id: '', dead: 1 }]);
    expect(messages).not.toContain(holding);
    await eventually(async () =>
      expect(await metric(worker, 'fleetwire_worker_dead_letters_total{reason="refused-by-database"}')).toBe(1),
    );
    await untilEmpty(harness);
  });

  it('stays in the queue while it is refused in every form, and delays neither readings nor other dead letters', async () => {
    const { logger, messages } = await recordingLogger();
    const harness = await workerHarness({ logger });
    await harness.rows(`alter table dead_letters add constraint refusal
      check (position('refused'::bytea in payload) = 0 and device_id is distinct from 'refused')`);
    // More of them than dead letters are taken at a time.
    await harness.worker({ DEAD_PREFETCH: '2' });
    await harness.publish(envelope(readings('refused', 5, () => rejected)));
    await storeOneByOne(harness, 'good', 20);
    expect(messages).not.toContain(holding);
    await harness.publish(envelope(readings('bad', 3, () => rejected)));
    await eventually(async () => expect(await harness.deadLetters('bad')).toHaveLength(3));
    expect(messages).not.toContain(holding);
    expect(await harness.deadLetters('refused')).toEqual([]);
    await harness.rows('alter table dead_letters drop constraint refusal');
    // One that was between its two forms when the constraint went is stored as bytes.
    await eventually(async () => {
      const refused = (await deadLetters(harness)).filter(({ device_id }) => device_id !== 'bad');
      expect(refused.map(seqOf).toSorted()).toEqual([1, 2, 3, 4, 5]);
    });
    await untilEmpty(harness);
    expect(await deadLetters(harness)).toHaveLength(8);
  });
});

it('dead letters that wait for Postgres leave connections for readings, are no outage, and are written together then', async () => {
  const { logger, messages } = await recordingLogger();
  const harness = await workerHarness({ logger });
  await harness.worker();
  await storeOneByOne(harness, 'before', 1);
  const locks = openDatabase({
    databaseUrl: harness.databaseUrl,
    poolMax: 1,
    statementTimeoutMs: 60_000,
    applicationName: 'test-locks',
  });
  cleanUp(() => locks.close());
  const locked = await locks.pool.connect();
  await locked.query('begin');
  await locked.query('lock table dead_letters in exclusive mode');
  const bad = readings('bad', 60, () => rejected);
  await harness.publish(envelope(bad));
  await eventually(async () =>
    expect(
      await harness.rows(`select from pg_locks where relation = 'dead_letters'::regclass and not granted`),
    ).not.toHaveLength(0),
  );
  await storeOneByOne(harness, 'good', 20);
  expect(messages).not.toContain(holding);
  await locked.query('rollback');
  locked.release();
  await eventually(async () => expect(await harness.deadLetters('bad')).toHaveLength(60));
  expect(messages).not.toContain(holding);
  const transactions = await harness.rows('select distinct xmin::text from dead_letters');
  expect(transactions.length).toBeLessThan(10);
});
