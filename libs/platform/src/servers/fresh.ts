import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { manage } from './management.ts';

/** An empty vhost or database; disposal drops it with its contents and connections. */
export interface Fresh extends AsyncDisposable {
  readonly url: string;
}

/** A new vhost. @param prefix letters; begins its name */
export async function createFreshVhost(
  { amqpUrl, managementUrl }: { readonly amqpUrl: string; readonly managementUrl: string },
  prefix: string,
): Promise<Fresh> {
  const vhost = freshName(prefix);
  const { username } = new URL(amqpUrl);
  await manage(managementUrl, 'PUT', `/vhosts/${vhost}`, {});
  await manage(managementUrl, 'PUT', `/permissions/${vhost}/${username}`, {
    configure: '.*',
    write: '.*',
    read: '.*',
  });
  return {
    url: withPath(amqpUrl, vhost),
    [Symbol.asyncDispose]: async () => void (await manage(managementUrl, 'DELETE', `/vhosts/${vhost}`)),
  };
}

/** A new database. @param prefix lower-case letters; begins its name */
export async function createFreshDatabase(databaseUrl: string, prefix: string): Promise<Fresh> {
  const name = freshName(prefix);
  await runStatement(databaseUrl, `create database ${name}`);
  return {
    url: withPath(databaseUrl, name),
    [Symbol.asyncDispose]: () => runStatement(databaseUrl, `drop database if exists ${name} with (force)`),
  };
}

/** Runs one statement on a connection of its own, outside a transaction. */
export async function runStatement(databaseUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function freshName(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll('-', '')}`;
}

function withPath(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
