import { randomUUID } from 'node:crypto';
import { afterAll, inject } from 'vitest';
import { manageBroker } from './manage-broker.ts';

/**
 * A new, empty vhost on the run's broker, dropped after the suite. Call it at the top of a file or of a `describe`:
 * `const amqpUrl = await freshVhost();`
 *
 * @returns its AMQP URL
 */
export async function freshVhost(): Promise<string> {
  const url = new URL(inject('amqpUrl'));
  const vhost = `test-${randomUUID()}`;
  afterAll(() => manageBroker('DELETE', `/vhosts/${vhost}`));
  await manageBroker('PUT', `/vhosts/${vhost}`, {});
  await manageBroker('PUT', `/permissions/${vhost}/${url.username}`, { configure: '.*', write: '.*', read: '.*' });
  url.pathname = `/${vhost}`;
  return url.href;
}
