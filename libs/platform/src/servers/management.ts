/** RabbitMQ's version as its management API tells it, or undefined while it does not answer. */
export async function brokerVersion(managementUrl: string): Promise<string | undefined> {
  try {
    return ((await askManagement(managementUrl, '/overview')) as { rabbitmq_version: string }).rabbitmq_version;
  } catch {
    return undefined;
  }
}

/** One question to the management API, `path` being below `/api`. @throws when the answer is not a good one */
export async function askManagement(managementUrl: string, path: string): Promise<unknown> {
  const { username, password, origin } = new URL(managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(`${origin}/api${path}`, {
    headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}`, connection: 'close' },
    signal: AbortSignal.timeout(2_000),
  });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status}`);
  return response.json();
}
