import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { describe, expect, it } from 'vitest';
import { SchemaNotCurrentError, classifyFailure } from '../src/failure.ts';
import { assertSchemaCurrent, migrate } from '../src/migrate.ts';
import { storeStatus } from '../src/readers.ts';
import { open } from './fixture.ts';

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

  it('are named when they are missing, and a service waits for them', async () => {
    const database = open(await freshDatabase());
    await expect(assertSchemaCurrent(database)).rejects.toThrow(new SchemaNotCurrentError(names));
    const failure = await storeStatus(database).catch((error: unknown) => error);
    expect(classifyFailure(failure)).toBe('hold');
  });
});
