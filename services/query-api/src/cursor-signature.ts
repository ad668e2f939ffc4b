import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { cursorRefusal } from './cursor.ts';

/** Signs the cursors of all lists: a position that a client made up never reaches the database. */
export interface CursorSignature {
  sign(cursor: string): string;
  /** @throws {Problem} 400 when the text has no valid signature */
  verify(text: string): string;
}

const signatureBytes = 16;

/**
 * The key is derived from user, password and database name of `DATABASE_URL`: instances that read the same database as the same
 * role accept each other's cursors without further configuration, also after a restart. A new password invalidates cursors in use.
 */
export function createCursorSignature(databaseUrl: string): CursorSignature {
  const { username, password, pathname } = new URL(databaseUrl);
  const secret = JSON.stringify([username, password, pathname]);
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'fleetwire query-api cursors', 32));
  const macOf = (cursor: string): Buffer =>
    createHmac('sha256', key).update(cursor).digest().subarray(0, signatureBytes);

  return {
    sign: (cursor) => `${cursor}.${macOf(cursor).toString('base64url')}`,
    verify: (text) => {
      const [cursor = '', signature = '', ...rest] = text.split('.');
      const given = Buffer.from(signature, 'base64url');
      const isSigned = rest.length === 0 && given.length === signatureBytes && timingSafeEqual(given, macOf(cursor));
      if (!isSigned) throw cursorRefusal('is not a cursor of this API; start without a cursor');
      return cursor;
    },
  };
}
