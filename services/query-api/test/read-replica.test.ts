import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { startNativePostgres } from '@fleetwire/platform/servers/native-postgres';
import type { RunningServer } from '@fleetwire/platform/servers/running-server';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { expect, it } from 'vitest';
import { startApi } from './running-api.ts';
import { reading } from './stored.ts';

const parent = mkdtempSync(join(tmpdir(), 'fleetwire-replica-'));
cleanUp(() => rmSync(parent, { recursive: true, force: true }));

async function start(name: string): Promise<RunningServer> {
  const directory = await openDataDirectory(join(parent, name), true, () => {});
  const server = await startNativePostgres(directory, process.env, () => {});
  cleanUp(() => server.stop());
  return server;
}

async function proxyOf(url: string) {
  const { hostname, port } = new URL(url);
  const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
  cleanUp(() => proxy.stop());
  return proxy;
}

it('questions are read from a replica, which says how far it is behind; one that is too far behind or away is not asked', async () => {
  const primary = await start('primary');
  await migrate(primary.url);
  await primary.control!.end('orderly');
  execFileSync('cp', ['-a', join(parent, 'primary'), join(parent, 'replica')]);
  rmSync(join(parent, 'replica', 'owner.json'), { force: true });
  await primary.control!.start();
  const { username, password, pathname } = new URL(primary.url);
  const replication = await proxyOf(primary.url);
  const cluster = join(parent, 'replica', 'postgres', 'cluster');
  writeFileSync(join(cluster, 'standby.signal'), '');
  appendFileSync(
    join(cluster, 'postgresql.auto.conf'),
    `primary_conninfo = 'host=127.0.0.1 port=${replication.port} user=${username} password=${password}'\n`,
  );
  const replica = await start('replica');
  const readingProxy = await proxyOf(replica.url);

  const writing = openDatabase({
    databaseUrl: primary.url,
    poolMax: 2,
    statementTimeoutMs: 20_000,
    applicationName: 'test',
    pipelined: true,
  });
  cleanUp(() => writing.close());
  const writer = createBatchWriter(writing.pool);
  const noon = Date.UTC(2026, 0, 1, 12);
  const write = (seq: number) => writer.write([reading({ deviceId: 'press-1', seq, ts: noon + seq * 1_000 })]);
  await write(1);

  const api = await startApi({
    DATABASE_URL: primary.url,
    DATABASE_READ_URL: `postgres://${username}:${password}@127.0.0.1:${readingProxy.port}${pathname}`,
    READ_REPLICA_LAG_MAX_MS: '3000',
  });
  const ask = async () => {
    const { status, body } = await api.get(
      '/api/v1/devices/press-1/series?metrics=temperature&agg=count&from=2026-01-01T12:00:00Z&to=2026-01-01T13:00:00Z',
    );
    expect([status, body.detail]).toEqual([200, undefined]);
    return { count: body.series[0].count[0] as number, lagMs: body.covers.replicaLagMs as number | undefined };
  };

  // Close behind: what was committed before the lag is in the answer.
  await eventually(async () => {
    const { count, lagMs } = await ask();
    expect([count, lagMs! <= 3_000]).toEqual([1, true]);
  });
  await write(2);
  await eventually(async () => expect(await ask()).toEqual({ count: 2, lagMs: expect.any(Number) }));

  // Cut off from the primary it still answers, and is behind more and more: then the primary is asked, which has everything.
  replication.stall();
  await write(3);
  await eventually(async () => expect(await ask()).toEqual({ count: 3, lagMs: undefined }));
  const metrics = (await api.get('/metrics')).body as string;
  expect(Number(/^fleetwire_query_replica_lag_seconds (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(3);
  replication.resume();
  await eventually(async () => expect(await ask()).toEqual({ count: 3, lagMs: expect.any(Number) }));

  // Away: each question is answered, by the primary.
  readingProxy.refuse();
  for (let round = 0; round < 5; round += 1) expect(await ask()).toEqual({ count: 3, lagMs: undefined });
  readingProxy.resume();
  await eventually(async () => expect((await ask()).lagMs).toEqual(expect.any(Number)));
});
