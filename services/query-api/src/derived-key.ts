import { hkdfSync } from 'node:crypto';

/**
 * A key derived from user, password and database name of `DATABASE_URL`: instances that read the same database as the same role have the same
 * keys without further configuration, also after a restart.
 */
export function derivedKey(databaseUrl: string, purpose: string): Buffer {
  const { username, password, pathname } = new URL(databaseUrl);
  const secret = JSON.stringify([username, password, pathname]);
  return Buffer.from(hkdfSync('sha256', secret, '', purpose, 32));
}
