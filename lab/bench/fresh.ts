import { randomUUID } from 'node:crypto';
import type { BackingServices } from '@fleetwire/platform/servers/backing-services';
import pg from 'pg';

/** A vhost and a database of a measurement's own, gone afterwards. */
export type FreshPlace = AsyncDisposable & { readonly amqpUrl: string; readonly databaseUrl: string };

export async function freshPlace(services: BackingServices): Promise<FreshPlace> {
  const name = `bench_${randomUUID().replaceAll('-', '')}`;
  await using made = new AsyncDisposableStack();
  await administer(services.databaseUrl, `create database ${name}`);
  made.defer(() => administer(services.databaseUrl, `drop database if exists ${name} with (force)`));
  // What earlier measurements left to be written would be written during this one.
  await administer(services.databaseUrl, 'checkpoint');

  const { username } = new URL(services.amqpUrl);
  await manage(services.managementUrl, 'PUT', `/vhosts/${name}`, {});
  made.defer(() => manage(services.managementUrl, 'DELETE', `/vhosts/${name}`));
  await manage(services.managementUrl, 'PUT', `/permissions/${name}/${username}`, {
    configure: '.*',
    write: '.*',
    read: '.*',
  });

  const stack = made.move();
  return {
    amqpUrl: withPath(services.amqpUrl, name),
    databaseUrl: withPath(services.databaseUrl, name),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function withPath(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function administer(databaseUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

async function manage(managementUrl: string, method: string, path: string, body?: object): Promise<void> {
  const { username, password, origin } = new URL(managementUrl);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const response = await fetch(`${origin}/api${path}`, {
    method,
    headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`RabbitMQ's management API answered ${method} ${path} with ${response.status}`);
}
