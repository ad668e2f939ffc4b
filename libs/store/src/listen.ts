import type pg from 'pg';

/**
 * Calls `onNotification` for each NOTIFY on a channel. Takes a connection of the pool for as long. Notifications are lost while it is not
 * connected: look also without one.
 * @returns when the signal aborts
 * @throws when the connection is lost
 */
export async function listen(
  pool: pg.Pool,
  {
    channel,
    onNotification,
    signal,
  }: { readonly channel: string; readonly onNotification: () => void; readonly signal: AbortSignal },
): Promise<void> {
  const client = await pool.connect();
  const ended = Promise.withResolvers<void>();
  // The connection may break before it is awaited, while `listen` is sent.
  ended.promise.catch(() => {});
  const stop = (): void => ended.resolve();
  client.on('notification', onNotification);
  client.on('error', ended.reject);
  client.on('end', () => ended.reject(new Error('the connection to Postgres was closed')));
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (signal.aborted) return;
    await client.query(`listen ${channel}`);
    onNotification();
    await ended.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    // Closed: a connection that listens must not be used for anything else.
    client.release(true);
  }
}
