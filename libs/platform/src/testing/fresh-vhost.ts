import { randomUUID } from 'node:crypto';
import { inject } from 'vitest';
import { cleanUp } from './clean-up.ts';
import { manageBroker } from './manage-broker.ts';

/**
 * A new, empty vhost on the run's broker, dropped after the suite, or after the test it is made in:
 * `const amqpUrl = await freshVhost();`
 *
 * @returns its AMQP URL
 */
export async function freshVhost(): Promise<string> {
  const url = new URL(inject('amqpUrl'));
  const vhost = `test-${randomUUID()}`;
  cleanUp(() => manageBroker('DELETE', `/vhosts/${vhost}`));
  await manageBroker('PUT', `/vhosts/${vhost}`, {});
  await manageBroker('PUT', `/permissions/${vhost}/${url.username}`, { configure: '.*', write: '.*', read: '.*' });
  url.pathname = `/${vhost}`;
  return url.href;
}
