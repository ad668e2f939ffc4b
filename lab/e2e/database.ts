import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { type Database, openDatabase } from '@fleetwire/store/database';

/** For the questions of a test; closed after it. */
export function openTestDatabase(databaseUrl: string, { poolMax = 1 }: { readonly poolMax?: number } = {}): Database {
  const timeouts = { statementTimeoutMs: 30_000, connectTimeoutMs: 30_000 };
  const database = openDatabase({ databaseUrl, poolMax, ...timeouts, applicationName: 'e2e' });
  cleanUp(() => database.close());
  return database;
}
