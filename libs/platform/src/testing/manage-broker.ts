import { inject } from 'vitest';

/**
 * One request to the run's broker (RabbitMQ, "HTTP API"). Its lists lag behind by up to five seconds.
 *
 * @param path below `/api`
 * @returns the parsed answer, undefined where it is empty
 */
export async function manageBroker(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown) {
  const { origin, username, password } = new URL(inject('managementUrl'));
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(`${origin}/api${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}
