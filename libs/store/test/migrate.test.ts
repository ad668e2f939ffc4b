import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { SchemaNotCurrentError, classifyFailure } from '../src/failure.ts';
import { assertSchemaCurrent, migrate } from '../src/migrate.ts';
import { readings, storeStatus } from '../src/readers.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, reading } from './reading.ts';

const program = `
  import { migrate } from '${new URL('../src/migrate.ts', import.meta.url).href}';
  console.log(JSON.stringify(await migrate(process.argv[1])));
`;

const names = [
  '0001-telemetry',
  '0002-dead-letters',
  '0003-dead-letter-work',
  '0004-books',
  '0005-suspects',
  '0007-acknowledgements',
  '0008-every-value-in-views',
  '0009-latest-without-values',
  '0010-latest-bytes',
  '0011-device-periods',
  '0012-forgotten-streams',
  '0013-conflicting-readings',
  '0014-positions',
  '0015-closed-edges',
  '0016-device-registry',
  '0017-device-erasures',
  '0018-device-event-outbox',
  '0019-presence',
  '0023-producer-call-time',
  '0024-commands',
  '0026-stale-presence',
  '0027-rollups',
  '0031-changes',
  '0032-sql-views',
  '0033-raw-tiles',
  '0035-export-jobs',
  '0038-sessions',
  '0039-queue-samples',
  '0040-alarms',
  '0043-instances',
];

async function migrateInOwnProcess(databaseUrl: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, databaseUrl]);
  return JSON.parse(stdout) as string[];
}

describe('migrations', () => {
  it('are applied once when three processes start together', async () => {
    const databaseUrl = await freshDatabase();
    const applied = await Promise.all([1, 2, 3].map(() => migrateInOwnProcess(databaseUrl)));
    expect(applied.flat()).toEqual(names);
    await assertSchemaCurrent(open(databaseUrl));
  });

  it('have nothing to do the second time', async () => {
    const databaseUrl = await freshDatabase();
    await migrate(databaseUrl);
    expect(await migrate(databaseUrl)).toEqual([]);
  });

  it('find in which partitions each device has readings, in a database from before that was kept', async () => {
    const { database, databaseUrl } = await freshStore();
    const writer = createBatchWriter(database.pool, { clock: () => monday });
    const times = [monday, monday - 7 * day, monday - 400 * day];
    await writer.write(times.map((ts, seq) => reading({ seq, ts })));
    await writer.write([reading({ deviceId: 'device-2' })]);
    const periods = () => database.pool.query('select * from device_periods order by device_key, from_ts');
    const { rows: before } = await periods();
    expect(before).toHaveLength(4);
    await database.pool.query('drop table device_periods');
    await database.pool.query(
      'alter table sequence_blocks drop constraint sequence_blocks_stream, drop column written_on',
    );
    await database.pool.query('alter table sequence_blocks rename column newly_stored to added');
    await database.pool.query(
      `delete from kysely_migration where name in ('0011-device-periods', '0012-forgotten-streams')`,
    );
    expect(await migrate(databaseUrl)).toEqual(['0011-device-periods', '0012-forgotten-streams']);
    expect((await periods()).rows).toEqual(before);
    const range = { from: 0, to: monday + day, limit: 10, order: 'asc' as const };
    expect(await readings(database, { deviceId: 'device-1', ...range })).toHaveLength(3);
  });

  it.for([
    ['do not register their readings', 'select added from sequence_blocks'],
    ['do not mark what they store', 'select newly_seen from sequence_blocks'],
    ['do not mark what they erase', 'select pass_erased from device_erasures'],
  ] as const)('let workers of releases that %s hold their work', async ([, statement]) => {
    const { database } = await freshStore();
    const failure = await database.pool.query(statement).catch((error: unknown) => error);
    expect(classifyFailure(failure)).toBe('hold');
  });

  it('are named when they are missing, and a service waits for them', async () => {
    const database = open(await freshDatabase());
    await expect(assertSchemaCurrent(database)).rejects.toThrow(new SchemaNotCurrentError(names));
    const failure = await storeStatus(database).catch((error: unknown) => error);
    expect(classifyFailure(failure)).toBe('hold');
  });
});
