import { inject } from 'vitest';
import { createFreshVhost } from '../servers/fresh.ts';
import { type ManagementMethod, manage } from '../servers/management.ts';
import { cleanUp } from './clean-up.ts';

/**
 * A new, empty vhost on the run's broker, dropped after the suite, or after the test that created it:
 * `const amqpUrl = await freshVhost();`
 *
 * @returns its AMQP URL
 */
export async function freshVhost(): Promise<string> {
  const vhost = await createFreshVhost({ amqpUrl: inject('amqpUrl'), managementUrl: inject('managementUrl') }, 'test');
  cleanUp(() => vhost[Symbol.asyncDispose]());
  return vhost.url;
}

/** {@link manage} on the run's broker. */
export function manageBroker(method: ManagementMethod, path: string, body?: object): Promise<unknown> {
  return manage(inject('managementUrl'), method, path, body);
}
