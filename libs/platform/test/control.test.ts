import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, describe, expect, inject, it } from 'vitest';
import { startBackingServices } from '../src/servers/backing-services.ts';
import { brokerVersion } from '../src/servers/management.ts';

const kind = inject('backingKind');
const endings = ['orderly', 'immediate', 'killed'] as const;

describe.skipIf(kind === 'given')('a controlled server', async () => {
  const services = await startBackingServices({
    mode: kind === 'containers' ? 'containers' : 'native',
    dataDir: mkdtempSync(join(tmpdir(), 'fleetwire-control-')),
    temporary: true,
    log: () => {},
    env: process.env,
  });
  afterAll(() => services.stop());
  const rabbitmq = services.control.rabbitmq!;
  const postgres = services.control.postgres!;
  let failure: string | undefined;
  void services.failed.then((how) => (failure = how));

  it('Postgres: has its data after every kind of shutdown, and reports no failure', async () => {
    await query('create table kept (value int)');
    for (const how of endings) {
      await query('insert into kept values (1)');
      await postgres.end(how);
      await expect(query('select 1')).rejects.toThrow();
      await postgres.start();
    }
    expect(await query('select * from kept')).toHaveLength(endings.length);
    expect(failure).toBeUndefined();
  });

  it('Postgres: does not answer while it is paused, and answers afterwards', async () => {
    await postgres.pause();
    const answer = query('select 1 as one');
    expect(await Promise.race([answer, aWhile()])).toBe('a while');
    await postgres.resume();
    expect(await answer).toEqual([{ one: 1 }]);
  });

  it('RabbitMQ: has its queues after every kind of shutdown, and reports no failure', async () => {
    await rabbitmq.ctl(['eval', declareKeptQueue]);
    for (const how of endings) {
      await rabbitmq.end(how);
      expect(await brokerVersion(services.managementUrl)).toBeUndefined();
      await rabbitmq.start();
      expect(await rabbitmq.ctl(['list_queues', '--quiet', 'name'])).toContain('kept');
    }
    expect(failure).toBeUndefined();
  });

  it('RabbitMQ: does not answer while it is paused, and answers afterwards', async () => {
    await rabbitmq.pause();
    expect(await brokerVersion(services.managementUrl)).toBeUndefined();
    await rabbitmq.resume();
    await expect.poll(() => brokerVersion(services.managementUrl)).toBeDefined();
  });

  it('can be stopped while it is paused', async () => {
    await postgres.pause();
    await rabbitmq.pause();
    await services.stop();
    expect(failure).toBeUndefined();
  });

  async function query(sql: string): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: services.databaseUrl });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }
});

const declareKeptQueue =
  'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"kept">>), true, false, [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"test">>).';

function aWhile(): Promise<string> {
  return sleep(500, 'a while');
}
