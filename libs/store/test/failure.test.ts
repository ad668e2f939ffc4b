import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { type FailureClass, classifyFailure } from '../src/failure.ts';
import { freshStore, open } from './fixture.ts';
import { reading } from './reading.ts';

const { database, databaseUrl } = await freshStore();

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => expect.unreachable('should fail'),
    (error: unknown) => error,
  );
}

async function throughProxy() {
  const url = new URL(databaseUrl);
  const proxy = await startFaultProxy({ host: url.hostname, port: Number(url.port || 5432) });
  onTestFinished(() => proxy.stop());
  url.host = `127.0.0.1:${proxy.port}`;
  return { proxy, database: open(url.href, { poolMax: 1, connectTimeoutMs: 500 }) };
}

describe('a failure of a real Postgres', () => {
  const statements: [FailureClass, string, string][] = [
    ['bad-data', '22003', 'select 40000::int2'],
    ['bad-data', '22P05', `select '"\\u0000"'::jsonb::text, ('["\\u0000"]'::jsonb) ->> 0`],
    ['bad-data', '22P02', `select 'x'::float8`],
    ['bad-data', '23502', 'insert into devices (device_id) values (null)'],
    ['bad-data', '23503', `insert into streams (device_key, epoch) values (-1, 'e')`],
    ['unknown', '23505', `insert into devices (device_id) values ('twice'), ('twice')`],
    ['hold', '25006', `set transaction read only; insert into devices (device_id) values ('a')`],
    ['hold', '57014', `set local statement_timeout = 20; select pg_sleep(5)`],
    ['hold', '42P01', 'select from not_there_yet'],
    ['retry-now', '40001', `do $$ begin raise exception 'serialisation' using errcode = '40001'; end $$`],
    ['unknown', '42601', 'selekt 1'],
  ];
  it.each(statements)('is %s: %s', async (verdict, code, statement) => {
    const client = await database.pool.connect();
    const failure = await failureOf(client.query(`begin; ${statement}; commit`));
    await client.query('rollback');
    client.release();
    expect(failure).toMatchObject({ code });
    expect(classifyFailure(failure)).toBe(verdict);
  });

  it('is retry-now when two transactions wait for each other', async () => {
    const [one, other] = await Promise.all([database.pool.connect(), database.pool.connect()]);
    for (const client of [one, other]) await client.query('begin');
    await one.query('select pg_advisory_xact_lock(1)');
    await other.query('select pg_advisory_xact_lock(2)');
    const outcomes = await Promise.allSettled([
      one.query('select pg_advisory_xact_lock(2)'),
      other.query('select pg_advisory_xact_lock(1)'),
    ]);
    for (const client of [one, other]) {
      await client.query('rollback');
      client.release();
    }
    expect(
      outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? classifyFailure(outcome.reason) : [])),
    ).toEqual(['retry-now']);
  });

  it('is hold when no such database is there', async () => {
    const url = new URL(databaseUrl);
    url.pathname = '/not_there_yet';
    expect(classifyFailure(await failureOf(open(url.href).pool.query('select 1')))).toBe('hold');
  });
});

describe('a failure of a broken connection', () => {
  it('is hold when no server listens', async () => {
    const { proxy, database: unreachable } = await throughProxy();
    await proxy.stop();
    expect(classifyFailure(await failureOf(unreachable.pool.query('select 1')))).toBe('hold');
  });

  it('is hold when the server does not answer', async () => {
    const { proxy, database: silent } = await throughProxy();
    proxy.stall();
    expect(classifyFailure(await failureOf(silent.pool.query('select 1')))).toBe('hold');
  });

  it.each(['cut', 'reset'] as const)(
    'is hold when the connection is %s in the middle, and the next write works',
    async (fault) => {
      const { proxy, database: broken } = await throughProxy();
      const sleeping = failureOf(broken.pool.query('select pg_sleep(10)'));
      await expect.poll(() => proxy.connections).toBe(1);
      await expect
        .poll(
          async () =>
            (await database.pool.query(`select from pg_stat_activity where query = 'select pg_sleep(10)'`)).rowCount,
        )
        .toBe(1);
      proxy[fault]();
      expect(classifyFailure(await sleeping)).toBe('hold');
      expect(await createBatchWriter(broken.pool).write([reading({ epoch: fault })])).toEqual({
        stored: 1,
        duplicates: 0,
        conflicts: [],
      });
    },
  );
});
