import pg from 'pg';
import { describe, expect, inject, it } from 'vitest';
import { freshDatabase } from '../src/testing/fresh-database.ts';
import { freshVhost, manageBroker } from '../src/testing/fresh-vhost.ts';

async function databaseNames(): Promise<string[]> {
  const client = new pg.Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  const { rows } = await client.query<{ datname: string }>('select datname from pg_database');
  await client.end();
  return rows.map(({ datname }) => datname);
}

async function vhostNames(): Promise<string[]> {
  return ((await manageBroker('GET', '/vhosts')) as { name: string }[]).map(({ name }) => name);
}

const nameIn = (url: string) => new URL(url).pathname.slice(1);

const gone: { vhost?: string; database?: string } = {};

describe('a suite with a vhost and a database of its own', async () => {
  const amqpUrl = await freshVhost();
  const databaseUrl = await freshDatabase();

  it('finds both empty', async () => {
    gone.vhost = nameIn(amqpUrl);
    gone.database = nameIn(databaseUrl);
    expect(await vhostNames()).toContain(gone.vhost);
    expect(await manageBroker('GET', `/queues/${gone.vhost}`)).toEqual([]);
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    const { rows } = await client.query("select 1 from pg_tables where schemaname = 'public'");
    await client.end();
    expect(rows).toEqual([]);
  });
});

describe('the next suite', () => {
  it('does not find them any more', async () => {
    expect(await vhostNames()).not.toContain(gone.vhost);
    expect(await databaseNames()).not.toContain(gone.database);
  });
});
