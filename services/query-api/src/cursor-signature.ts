import { createHmac, timingSafeEqual } from 'node:crypto';
import { cursorRefusal } from './cursor.ts';
import { derivedKey } from './derived-key.ts';

/** Signs the cursors of all lists: a position that a client made up never reaches the database. */
export interface CursorSignature {
  sign(cursor: string): string;
  /** @throws {Problem} 400 when the text has no valid signature */
  verify(text: string): string;
}

const signatureBytes = 16;

/** A new password of the database invalidates cursors in use. */
export function createCursorSignature(databaseUrl: string): CursorSignature {
  const key = derivedKey(databaseUrl, 'fleetwire query-api cursors');
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
