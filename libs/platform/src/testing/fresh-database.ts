import { inject } from 'vitest';
import { createFreshDatabase } from '../servers/fresh.ts';
import { cleanUp } from './clean-up.ts';

/**
 * A new, empty database on the run's Postgres, dropped after the suite, or after the test it is made in, with the connections that are still open:
 * `const databaseUrl = await freshDatabase();`
 *
 * @returns its URL
 */
export async function freshDatabase(): Promise<string> {
  const database = await createFreshDatabase(inject('databaseUrl'), 'test');
  cleanUp(() => database[Symbol.asyncDispose]());
  return database.url;
}
