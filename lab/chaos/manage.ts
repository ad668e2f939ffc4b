/** One request to the broker's management API (RabbitMQ, "HTTP API"), below `/api`. @throws when the answer is not a good one */
export type Manage = (method: 'GET' | 'PUT' | 'DELETE', path: string, body?: object) => Promise<unknown>;

const requestTimeoutMs = 10_000;

export function createManage(managementUrl: () => string): Manage {
  return async (method, path, body) => {
    const { origin, username, password } = new URL(managementUrl());
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    const response = await fetch(`${origin}/api${path}`, {
      method,
      headers: {
        authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
        'content-type': 'application/json',
        connection: 'close',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
}
