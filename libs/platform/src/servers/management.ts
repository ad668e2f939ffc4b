const requestTimeoutMs = 20_000;
const probeTimeoutMs = 2_000;

export type ManagementMethod = 'GET' | 'PUT' | 'POST' | 'DELETE';

/**
 * One request to RabbitMQ's management HTTP API (https://www.rabbitmq.com/docs/http-api-reference). Its lists lag behind by up to five seconds.
 *
 * @param managementUrl base URL with user and password
 * @param path below `/api`
 * @returns the parsed answer, undefined where it is empty
 * @throws Error with status and answer, where the status is not 2xx
 */
export async function manage(
  managementUrl: string,
  method: ManagementMethod,
  path: string,
  body?: object,
  timeoutMs = requestTimeoutMs,
): Promise<unknown> {
  const { origin, username, password } = new URL(managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(`${origin}/api${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
      // A kept connection would break with the next request after the broker was restarted.
      connection: 'close',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** RabbitMQ's version, or undefined while its management API does not answer. */
export async function brokerVersion(managementUrl: string): Promise<string | undefined> {
  try {
    const overview = await manage(managementUrl, 'GET', '/overview', undefined, probeTimeoutMs);
    return (overview as { rabbitmq_version: string }).rabbitmq_version;
  } catch {
    return undefined;
  }
}
