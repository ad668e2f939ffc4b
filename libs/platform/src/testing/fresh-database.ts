import { inject } from 'vitest';
import { createFreshDatabase } from '../servers/fresh.ts';
import { cleanUp } from './clean-up.ts';

/**
 * A new, empty database on the run's Postgres, dropped with its connections after the suite, or after the test that created it:
 * `const databaseUrl = await freshDatabase();`
 *
 * @returns its URL
 */
export async function freshDatabase(): Promise<string> {
  const database = await createFreshDatabase(inject('databaseUrl'), 'test');
  cleanUp(() => database[Symbol.asyncDispose]());
  return database.url;
}
