import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { startNativePostgres } from '@fleetwire/platform/servers/native-postgres';
import type { RunningServer } from '@fleetwire/platform/servers/running-server';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { beginChanges, type ChangesPosition, changesAfter } from '../src/changes/read-changes.ts';
import { ReadReplicaError } from '../src/commit-order.ts';
import type { Database } from '../src/database.ts';
import { migrate } from '../src/migrate.ts';
import { open } from './fixture.ts';
import { reading } from './reading.ts';

const parent = mkdtempSync(join(tmpdir(), 'fleetwire-replaced-'));
cleanUp(() => rmSync(parent, { recursive: true, force: true }));

async function start(name: string): Promise<RunningServer> {
  const directory = await openDataDirectory(join(parent, name), true, () => {});
  const server = await startNativePostgres(directory, process.env, () => {});
  cleanUp(() => server.stop());
  return server;
}

/** With the owners of the files. */
function copy(from: string, to: string): void {
  execFileSync('cp', ['-a', join(parent, from), join(parent, to)]);
  rmSync(join(parent, to, 'owner.json'), { force: true });
}

const follow = (database: Database, position: ChangesPosition) =>
  changesAfter(database, { position, filter: {}, limit: 100, msMax: 10_000 });

it('a standby, a promoted one and a database that was put back to a copy of its files are refused', async () => {
  const first = await start('first');
  await migrate(first.url);
  const before = open(first.url, { pipelined: true });
  const write = async (database: Database, from: number, to: number): Promise<void> => {
    const writer = createBatchWriter(database.pool);
    for (let seq = from; seq < to; seq += 1) await writer.write([reading({ seq })]);
  };
  await write(before, 0, 2);
  const place = await beginChanges(open(first.url, { pipelined: false }), {});
  await write(before, 2, 4);
  await first.control!.end('orderly');
  copy('first', 'standby');
  copy('first', 'restored');
  writeFileSync(join(parent, 'standby', 'postgres', 'cluster', 'standby.signal'), '');

  await first.control!.start();
  const continued = open(first.url, { pipelined: false });
  const { changes, position } = await eventually(() => follow(continued, place));
  expect(changes.map(({ seq }) => seq)).toEqual([2, 3]);
  await write(open(first.url), 4, 6);
  const later = await beginChanges(continued, {});
  await first.control!.end('immediate');

  const standby = open((await start('standby')).url, { pipelined: false });
  await expect(follow(standby, position)).rejects.toThrow(ReadReplicaError);
  await expect(beginChanges(standby, {})).rejects.toThrow(ReadReplicaError);
  await standby.pool.query('select pg_promote()');
  await expect(follow(standby, position)).rejects.toMatchObject({ reason: 'store-replaced', isSameSystem: true });
  const again = await beginChanges(standby, { since: place.at });
  expect((await follow(standby, again)).changes.map(({ seq }) => seq)).toEqual(expect.arrayContaining([2, 3]));

  // The same system and timeline, which gives the same transaction ids again.
  const restored = await start('restored');
  const reread = open(restored.url, { pipelined: false });
  await expect(follow(reread, later)).rejects.toMatchObject({ reason: 'store-replaced', isSameSystem: true });
  await write(open(restored.url), 10, 40);
  await expect(follow(reread, later)).rejects.toMatchObject({ reason: 'store-replaced', isSameSystem: true });
  expect((await follow(reread, position)).changes).toHaveLength(30);
});
