/** RabbitMQ's version as its management API tells it, or undefined while it does not answer. */
export async function brokerVersion(managementUrl: string): Promise<string | undefined> {
  const { username, password, origin } = new URL(managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  try {
    const response = await fetch(`${origin}/api/overview`, {
      headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}`, connection: 'close' },
      signal: AbortSignal.timeout(2_000),
    });
    return response.ok ? ((await response.json()) as { rabbitmq_version: string }).rabbitmq_version : undefined;
  } catch {
    return undefined;
  }
}
