import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { cleanUp } from './clean-up.ts';

/**
 * A new, empty database on the run's Postgres, dropped after the suite, or after the test it is made in, whoever is still connected.
 * `const databaseUrl = await freshDatabase();`
 *
 * @returns its URL
 */
export async function freshDatabase(): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  cleanUp(() => administer(`drop database if exists ${name} with (force)`));
  await administer(`create database ${name}`);
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/${name}`;
  return url.href;
}

async function administer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
