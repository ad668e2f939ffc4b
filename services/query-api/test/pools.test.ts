import { createLogger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import type { Database } from '@fleetwire/store/database';
import { readings } from '@fleetwire/store/readers';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { circuitGauge, createCircuit, guardDatabase, isDatabaseOutage } from '../src/circuit.ts';
import { openReadPool } from '../src/pools.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
await store.write([reading({ ts: Date.UTC(2026, 0, 1) })]);
const { databaseUrl } = store;
const logger = await createLogger({ name: 'test', level: 'silent' });

const running = async (): Promise<number> => {
  const { rows } = await store.database.pool.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity where application_name = 'query-api slow' and state = 'active'`,
  );
  return rows[0]?.count ?? 0;
};

/** Holds a lock on the readings, that blocks every reader. */
async function lockReadings(): Promise<AsyncDisposable> {
  const client = await store.database.pool.connect();
  await client.query('begin; lock table readings in access exclusive mode');
  return {
    [Symbol.asyncDispose]: async () => {
      await client.query('rollback');
      client.release();
    },
  };
}

/** With a connection, so that a short timeout is that of the query, and not of the way to Postgres on a busy machine. */
async function openSlowPool(statementTimeoutMs: number): Promise<Database> {
  const database = openReadPool({ databaseUrl, statementTimeoutMs }, { poolMax: 1, purpose: 'slow', logger });
  await eventually(() => database.pool.query('select'));
  return database;
}

describe('a query that takes too long', () => {
  it.each([
    ['by its own timeout', 1_500, 60_000, 504],
    ['when its call is aborted, long before its own timeout', 60_000, 1_500, 503],
  ])('ends in Postgres %s', async (_when, statementTimeoutMs, timeoutMs, status) => {
    const pool = await openSlowPool(statementTimeoutMs);
    await using _lock = await lockReadings();
    const circuit = createCircuit({
      name: 'slow',
      timeoutMs,
      resetMs: 1_000,
      volumeThreshold: 100,
      windowMs: 10_000,
      inFlightMax: 10,
      isOutage: isDatabaseOutage,
      logger,
      gauge: circuitGauge(createRegistry()),
    });
    const query = { deviceId: 'pump-1', from: 0, to: Date.now(), limit: 1, order: 'asc' } as const;

    const call = guardDatabase(pool, circuit).run(readings, query);
    const refusal = call.catch((error: unknown) => error);
    await eventually(async () => expect(await running()).toBe(1), { intervalMs: 5 });
    expect(await refusal).toMatchObject({ status });
    await eventually(async () => expect(await running()).toBe(0));

    circuit.stop();
    await pool.close();
  });
});

it('neither queries that take too long nor waits for the pool open the circuit', async () => {
  const pool = await openSlowPool(200);
  await using _lock = await lockReadings();
  const circuit = createCircuit({
    name: 'slow',
    timeoutMs: 10_000,
    resetMs: 60_000,
    volumeThreshold: 2,
    windowMs: 10_000,
    inFlightMax: 10,
    isOutage: isDatabaseOutage,
    logger,
    gauge: circuitGauge(createRegistry()),
  });
  const query = { deviceId: 'pump-1', from: 0, to: Date.now(), limit: 1, order: 'asc' } as const;
  const answers = await Promise.all(
    Array.from({ length: 8 }, () =>
      guardDatabase(pool, circuit)
        .run(readings, query)
        .catch((error: unknown) => (error as { status: number }).status),
    ),
  );
  expect(new Set(answers)).toEqual(new Set([503, 504]));
  expect(circuit.state()).toBe('closed');
  circuit.stop();
  await pool.close();
});

it('a read pool refuses to write', async () => {
  const pool = openReadPool({ databaseUrl, statementTimeoutMs: 1_000 }, { poolMax: 1, purpose: 'test', logger });
  await expect(pool.pool.query(`insert into devices (device_id) values ('x')`)).rejects.toMatchObject({
    code: '25006',
  });
  await pool.close();
});
